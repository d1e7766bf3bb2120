/* The floor in C: what no server in Python can be faster than.

   floor ROLE DESCRIPTOR serves on a listening socket that it inherits, which does not
   block, until it is killed. The roles are those of wire.py. The loop is that of
   servers/bare.py: one thread, level-triggered epoll, one recv and one send an echo.
   Like there, bulk data is a blocking socket's.

   servers/in_c.py starts it, compiled.py builds it. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ = 65536, PIECE = 256 * 1024, MOST = 1023, FILES = 65536 };

struct late { /* what did not fit: it goes out before anything more is read */
    char *data;
    size_t size, sent;
};

static const char RESPONSE[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
static const char END[] = "\r\n\r\n";

static char buffer[PIECE], answer[READ / 4 * sizeof RESPONSE];
static struct late late[FILES];
static unsigned char seen[FILES]; /* how much of END a connection has come to */
static int poller;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int operation, int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) < 0)
        fail("epoll_ctl");
}

static void end(int fd) {
    free(late[fd].data);
    memset(&late[fd], 0, sizeof late[fd]);
    seen[fd] = 0;
    close(fd);
}

static void keep(int fd, const char *data, size_t size) {
    char *copy = malloc(size);
    if (copy == NULL)
        fail("malloc");
    memcpy(copy, data, size);
    late[fd] = (struct late){copy, size, 0};
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void reply(int fd, const char *data, size_t size) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        end(fd);
    else if (sent < (ssize_t)size)
        keep(fd, data + (sent < 0 ? 0 : sent), size - (sent < 0 ? 0 : sent));
}

static void send_late(int fd) {
    struct late *rest = &late[fd];
    ssize_t sent = send(fd, rest->data + rest->sent, rest->size - rest->sent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            end(fd);
        return;
    }
    rest->sent += sent;
    if (rest->sent == rest->size) {
        free(rest->data);
        memset(rest, 0, sizeof *rest);
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

/* How many requests end in what came in. */
static int requests(int fd, const char *data, ssize_t size) {
    int ended = 0;
    unsigned char state = seen[fd];
    for (ssize_t i = 0; i < size; i++) {
        state = data[i] == END[state] ? state + 1 : data[i] == END[0];
        if (state == 4) {
            state = 0;
            ended++;
        }
    }
    seen[fd] = state;
    return ended;
}

static void serve(int fd, int http) {
    ssize_t size = recv(fd, buffer, READ, 0);
    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        end(fd);
    } else if (size > 0 && http) {
        size_t length = sizeof RESPONSE - 1;
        int ended = requests(fd, buffer, size);
        for (int i = 0; i < ended; i++)
            memcpy(answer + i * length, RESPONSE, length);
        if (ended)
            reply(fd, answer, ended * length);
    } else if (size > 0) {
        reply(fd, buffer, size);
    }
}

static void many(int listener, int http) {
    struct epoll_event events[MOST];
    poller = epoll_create1(0);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int ready = epoll_wait(poller, events, MOST, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int connection = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (connection >= 0)
                    watch(EPOLL_CTL_ADD, connection, EPOLLIN);
            } else if (late[fd].data != NULL) {
                send_late(fd);
            } else {
                serve(fd, http);
            }
        }
    }
}

static void sink(int fd) {
    unsigned long long total = 0;
    ssize_t size;
    while ((size = recv(fd, buffer, READ, 0)) > 0)
        total += size;
    send(fd, buffer, sprintf(buffer, "%llu", total), MSG_NOSIGNAL);
}

static void source(int fd) {
    uint64_t left;
    if (recv(fd, &left, sizeof left, MSG_WAITALL) != sizeof left)
        return;
    while (left > 0) {
        ssize_t sent = send(fd, buffer, left < PIECE ? left : PIECE, MSG_NOSIGNAL);
        if (sent < 0)
            return;
        left -= sent;
    }
}

static void one_by_one(int listener, void (*handler)(int)) {
    struct epoll_event event;
    poller = epoll_create1(0);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN); /* for it does not block */
    for (;;) {
        if (epoll_wait(poller, &event, 1, -1) < 1)
            continue;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            continue;
        handler(fd);
        close(fd);
    }
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: floor echo|http|sink|source DESCRIPTOR\n");
        return 2;
    }
    int listener = atoi(words[2]);
    if (strcmp(words[1], "sink") == 0)
        one_by_one(listener, sink);
    else if (strcmp(words[1], "source") == 0)
        one_by_one(listener, source);
    else
        many(listener, strcmp(words[1], "http") == 0);
    return 0;
}
