/* The client of the echo: fast, so that what is measured is the server.

   client PORT SIZE reads commands from its standard input, and answers each with a line:

       connect N    have N connections in all, each tried with one byte      "N"
       run ROUNDS   one message of SIZE bytes under way on every connection, until each
                    had ROUNDS       "echoes seconds p50 p99", the last two in microseconds

   It ends with its input, or with an error. client.py is the same in Python, for
   where there is no compiler. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 20000, EVENTS = 1024, BATCH = 256 };

struct connection {
    int fd;
    long left;        /* rounds */
    size_t sent, got; /* of this round's message */
    uint64_t begun;
};

static struct connection connections[MOST];
static struct sockaddr_in address = {.sin_family = AF_INET};
static int poller, open_ones;
static char *message, *buffer;
static size_t size;
static uint32_t *took; /* nanoseconds of each echo */
static long echoes;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void put(struct connection *each) {
    ssize_t sent;
    while (each->sent < size) {
        sent = send(each->fd, message + each->sent, size - each->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            fail("send");
        each->sent += sent;
    }
}

static void begin(struct connection *each) {
    each->sent = each->got = 0;
    each->begun = nanoseconds();
    put(each);
}

/* Receive; whether the message is back. */
static int get(struct connection *each) {
    while (each->got < size) {
        ssize_t got = recv(each->fd, buffer, size - each->got, 0);
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got <= 0)
            fail("recv");
        if (memcmp(buffer, message + each->got, got) != 0)
            fail("not what was sent");
        each->got += got;
    }
    return 1;
}

static void run(long rounds) {
    struct epoll_event events[EVENTS];
    long going = open_ones;
    for (int i = 0; i < open_ones; i++) {
        connections[i].left = rounds;
        begin(&connections[i]);
    }
    while (going > 0) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *each = events[i].data.ptr;
            if (each->left == 0)
                continue;
            put(each);
            if (!get(each))
                continue;
            took[echoes++] = nanoseconds() - each->begun;
            if (--each->left > 0)
                begin(each);
            else
                going--;
        }
    }
}

static int ascending(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return a < b ? -1 : a > b;
}

static void measured_run(long rounds) {
    took = realloc(took, sizeof *took * (rounds * open_ones + 1));
    if (took == NULL)
        fail("realloc");
    echoes = 0;
    uint64_t begun = nanoseconds();
    run(rounds);
    double seconds = (nanoseconds() - begun) / 1e9;
    qsort(took, echoes, sizeof *took, ascending);
    printf("%ld %.9f %.3f %.3f\n", echoes, seconds, took[echoes / 2] / 1e3,
           took[echoes * 99 / 100] / 1e3);
}

static void open_one(struct connection *each) {
    int on = 1;
    each->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (each->fd < 0 || connect(each->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    setsockopt(each->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* In batches, each of them answered, so that nobody waits for a place in the backlog. */
static void connect_until(int wanted) {
    char byte = 1;
    while (open_ones < wanted) {
        int first = open_ones;
        for (; open_ones < wanted && open_ones < first + BATCH; open_ones++) {
            open_one(&connections[open_ones]);
            if (send(connections[open_ones].fd, &byte, 1, MSG_NOSIGNAL) != 1)
                fail("send");
        }
        for (int i = first; i < open_ones; i++) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
            event.data.ptr = &connections[i];
            if (recv(connections[i].fd, &byte, 1, 0) != 1)
                fail("recv");
            fcntl(connections[i].fd, F_SETFL, O_NONBLOCK);
            if (epoll_ctl(poller, EPOLL_CTL_ADD, connections[i].fd, &event) < 0)
                fail("epoll_ctl");
        }
    }
    printf("%d\n", open_ones);
}

int main(int count, char **words) {
    char line[64];
    long number = 0;
    if (count != 3) {
        fprintf(stderr, "usage: client PORT SIZE\n");
        return 2;
    }
    address.sin_port = htons(atoi(words[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = atol(words[2]);
    message = malloc(size);
    buffer = malloc(size);
    poller = epoll_create1(0);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i * 7 + i / 256);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "connect %ld", &number) == 1 && number <= MOST)
            connect_until((int)number);
        else if (sscanf(line, "run %ld", &number) == 1)
            measured_run(number);
        else
            return 2;
        fflush(stdout);
    }
    return 0;
}
