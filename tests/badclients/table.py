"""The servers: how each is started, spoken to well, and spoken to badly.

To add one: an `Entry`, with a `talk` that fails unless the server answers rightly, and
samples that show all that it understands.
"""

from __future__ import annotations

from .entry import PORT, Entry
from .speaking import (
    DEFLATE,
    HELLOS,
    begin_chat,
    begin_socks,
    begin_tls,
    beside_echo,
    chat_options,
    deflated,
    files_options,
    frame,
    good_echo,
    good_http,
    good_resp,
    good_socks,
    long_http,
    socks_options,
    talk_cache,
    talk_chat,
    talk_datagrams,
    talk_echo,
    talk_files,
    talk_files_when_full,
    talk_page,
    talk_upload,
    tls_options,
    unix_options,
    upgrade,
    words,
)

MIB = 1 << 20
TEXTS = (b"hello\n", b"x", bytes(range(256)) * 4, b"a line, and another one\r\n" * 40)

ECHO = {
    "module": "echo",
    "talk": talk_echo,
    "samples": TEXTS,
    "greedy": bytes(65536),
    "oversize": (bytes(8 * MIB), b"x" * MIB + b"\n"),
    "good": good_echo,
}

SOCKS_HELLO = b"\5\1\0"
SOCKS_TO_ECHO = SOCKS_HELLO + b"\5\1\0\1\x7f\0\0\1" + PORT

JSON = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def post(path: bytes, body: bytes) -> bytes:
    """A request with a body."""
    return b"POST " + path + b" HTTP/1.1\r\n" + JSON % (len(body), body)


def get(path: bytes, *headers: bytes) -> bytes:
    """A request without one."""
    lines = [b"GET " + path + b" HTTP/1.1", b"Host: 127.0.0.1", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


CHUNKED = (
    b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)

# What lies where one request ends and the next begins.
HTTP = (
    CHUNKED.replace(b"\r\n\r\n5", b"\r\nContent-Length: 15\r\n\r\n5") + get(b"/smuggled"),
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 3,
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get(b"/"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    get(b"http://else:80/", b"Connection: close"),
)

JOINING = b'{"type": "join", "name": "bob", "room": "lobby"}'
SAYING = b'{"type": "say", "text": "hello, all 12 of you"}'
JOIN, SAY = frame(JOINING), frame(SAYING)

ENTRIES = [
    Entry(name="echo-tcp", **ECHO),
    Entry(name="echo-unix", transport="unix", prepare=unix_options, **ECHO),
    Entry(
        name="echo-tls",
        module="echo",
        talk=talk_echo,
        samples=HELLOS,
        greedy=bytes(65536),
        oversize=(HELLOS[0] + bytes(4 * MIB), b"\x16\3\1\xff\xff" + b"\1\0\xff\xff" * 100_000),
        prepare=tls_options,
        begin=begin_tls,
        encrypted=True,
        idle=131_072,  # OpenSSL takes some 90 KiB for a handshake that has not ended
    ),
    Entry(
        name="echo-udp",
        module="echo",
        talk=talk_datagrams,
        samples=TEXTS,
        greedy=bytes(60_000),
        prepare=lambda *_: ["--udp"],
        transport="udp",
    ),
    Entry(
        name="files",
        module="files",
        talk=talk_files,
        talk_when_full=talk_files_when_full,
        samples=(
            get(b"/hello.txt"),
            get(b"/") + get(b"/folder/"),
            get(b"/a%20file.html?a=1&b=2", b"Range: bytes=1-5", b"Accept: */*"),
            get(b"/hello.txt", b"Range: bytes=0-1,3-4,-2", b'If-Range: "1-2"'),
            get(b"/hello.txt", b'If-None-Match: "5-1", W/"2"', b"If-Match: *"),
            get(b"/hello.txt", b"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
            b"HEAD /folder HTTP/1.0\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            get(b"http://127.0.0.1:80/../folder/../hello.txt"),
            get(b"/empty.txt", b"Range: bytes=0-1023"),
            CHUNKED,
            *HTTP,
        ),
        greedy=get(b"/big"),
        oversize=long_http(),
        prepare=files_options,
        good=good_http,
    ),
    Entry(
        name="wsgi",
        module="wsgi",
        talk=talk_upload,
        samples=(
            get(b"/"),
            get(b"/nowhere?name=value&x=%41", b"Cookie: a=1; b=2"),
            post(b"/upload", b"hello, world 123"),
            b"POST /upload HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            CHUNKED,
            b"HEAD /upload HTTP/1.1\r\nHost: x\r\n\r\n",
            *HTTP,
        ),
        greedy=get(b"/") * 20,
        oversize=(*long_http(), post(b"/upload", bytes(8 * MIB))),
        prepare=lambda *_: ["--write-seconds", "2", "--max-spool", "64"],
        good=good_http,
    ),
    Entry(
        name="proxy",
        module="proxy",
        talk=talk_echo,
        samples=TEXTS,
        greedy=bytes(65536),
        oversize=(bytes(8 * MIB),),
        prepare=beside_echo,
        good=good_echo,
    ),
    Entry(
        name="socks",
        module="socks",
        talk=talk_echo,
        samples=(
            SOCKS_TO_ECHO + b"hello",
            b"\5\3\0\1\2\5\1\0\1\x7f\0\0\1" + PORT + bytes(1000),
            SOCKS_HELLO + b"\5\1\0\3\x09127.0.0.1" + PORT + b"hello",
            SOCKS_HELLO + b"\5\1\0\4" + bytes(15) + b"\1" + PORT,
            SOCKS_HELLO + b"\5\2\0\1\x7f\0\0\1" + PORT,
            SOCKS_HELLO + b"\5\3\0\1\0\0\0\0\0\0",
            b"\4\1" + PORT + b"\x7f\0\0\1user\0",
            SOCKS_HELLO + b"\5\1\0\3\x10::ffff:127.0.0.1" + PORT + b"hello",
            SOCKS_HELLO + b"\5\1\0\3\x05127.1" + PORT + SOCKS_TO_ECHO,
            SOCKS_TO_ECHO * 20,
        ),
        greedy=bytes(65536),
        oversize=(b"\5\xff" + bytes(4 * MIB), SOCKS_TO_ECHO + bytes(8 * MIB)),
        prepare=socks_options,
        begin=begin_socks,
        good=good_socks,
    ),
    Entry(
        name="cache",
        module="cache",
        talk=talk_cache,
        samples=(
            words(b"SET", b"key:1", b"value", b"EX", b"100", b"NX") + words(b"GET", b"key:1"),
            words(b"MSET", b"a", b"1", b"b", b"2") + words(b"MGET", b"a", b"b", b"nothing"),
            words(b"INCRBY", b"count", b"9") + b"DECR count\r\nINCR a\r\nTTL a\r\nPTTL a\r\n",
            words(b"LPUSH", b"list", b"x", b"y") + words(b"LRANGE", b"list", b"0", b"-1"),
            words(b"BLPOP", b"list", b"none", b"0.1") + b"RPOP list 2\r\nLLEN list\r\n",
            words(b"HSET", b"hash", b"f", b"v") + words(b"HGETALL", b"hash") + b"HDEL hash f\r\n",
            words(b"SADD", b"set", b"x", b"y") + b"SMEMBERS set\r\nSREM set x\r\nSCARD set\r\n",
            words(b"SUBSCRIBE", b"news", b"more")
            + b"PSUBSCRIBE n[a-z]*s?\r\nPING\r\nUNSUBSCRIBE\r\n",
            words(b"PUBLISH", b"news", b"hello") + b"RESET\r\nHELLO 2 SETNAME me\r\n",
            b'KEYS *a*b?[^x-z]\\*\r\nEXISTS a b\r\nTYPE a\r\nDBSIZE\r\nSELECT 0\r\nECHO "a\\x41 \\n"\r\n',
            b"EXPIRE a 100\r\nPERSIST a\r\nAPPEND a 'x y'\r\nSTRLEN a\r\nDEL a b\r\nCOMMAND DOCS\r\n",
            b"INFO\r\nCLIENT LIST\r\nCONFIG GET *\r\nQUIT\r\n",
            words(b"HELLO", b"3", b"SETNAME", b"me")
            + b"HGETALL hash\r\nSMEMBERS set\r\nGET none\r\n",
            words(b"HELLO", b"3") + b"SUBSCRIBE news\r\nPUBLISH news hi\r\nPING\r\nINFO\r\n",
            b"MULTI\r\nSET a 1\r\n" + words(b"INCR", b"a") + b"BLPOP none 0\r\nEXEC\r\n",
            b"WATCH a b\r\nSET a 2\r\nMULTI\r\nGET a\r\nEXEC\r\nUNWATCH\r\nMULTI\r\nDISCARD\r\n",
            words(b"SCAN", b"0", b"MATCH", b"*a*", b"COUNT", b"5")
            + b"HSCAN hash 0\r\nSSCAN set 0\r\n",
            b"SETNX n 1\r\nINCRBYFLOAT n 1.5\r\nGETEX n PXAT 4000000000000\r\nEXPIRE n 9 NX\r\n",
            words(b"GETRANGE", b"a", b"0", b"-1") + b"SETRANGE a 5 x\r\nRENAME a b\r\nGETDEL b\r\n",
            b"LTRIM list 0 5\r\nLREM list -1 x\r\nLMOVE list list LEFT RIGHT\r\nLSET list 0 y\r\n",
            b"SUNION set none\r\nSRANDMEMBER set -5\r\nSMOVE set other x\r\nHINCRBY hash n 5\r\n",
            words(b"AUTH", b"default", b"x") + b"PUBSUB CHANNELS n*\r\nTIME\r\nRANDOMKEY\r\n",
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET owned yes\r\n",
            words(b"nonsense\nid=9 addr=x name=y", b"\x1b[2J") + words(b"CLIENT", b"LIST"),
            b"\n" * 3000 + b"a\n" * 1000 + b"SET e ''\r\nINCR e\r\n",
        ),
        greedy=words(b"SET", b"big", bytes(20_000)) + words(b"GET", b"big") * 100,
        oversize=(
            b"GET " + b"x" * (4 * MIB),
            b"*1000000\r\n" + b"$1\r\nx\r\n" * 200_000,
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$60000000\r\n" + bytes(8 * MIB),
            b"*2147483647\r\n$2147483647\r\n",
            b"$" + b"9" * MIB,
        ),
        prepare=lambda *_: ["--max-value", "4m", "--max-memory", "64m"],
        good=good_resp,
        growth=128 * MIB,
        expected=r"WARNING client \d+ \(127\.0\.0\.1:\d+\) was cut off: (it|memory) [ -~]+\n",
    ),
    Entry(
        name="chat-http",
        module="chat",
        talk=talk_page,
        samples=(
            get(b"/"),
            get(b"/chat.css", b"Origin: http://127.0.0.1"),
            post(b"/poll/join", b'{"type": "join", "name": "bob", "room": "lobby"}')
            + get(b"/poll/x?after=0"),
            post(b"/poll/abcdef", b'{"type": "say", "text": "hello"}'),
            upgrade(),
        ),
        greedy=get(b"/") * 20,
        oversize=(*long_http(), post(b"/poll/join", b"[" * MIB)),
        prepare=chat_options,
        good=good_http,
    ),
    Entry(
        name="chat-ws",
        module="chat",
        talk=talk_chat,
        samples=(
            upgrade() + JOIN + SAY,
            upgrade() + JOIN + frame(b'{"type": "typing"}') + frame(b'{"type": "leave"}'),
            upgrade() + JOIN + frame(b"ping", 9) + frame(b"pong", 10) + frame(b"\x03\xe8bye", 8),
            upgrade()
            + JOIN
            + frame(b'{"type": "sa', 1, last=False)
            + frame(b'y", "text": "x"}', 0),
            upgrade()
            + frame(
                '{"type": "join", "name": "\u00e9\U0001f600", "room": "x", "key": "k"}'.encode()
            ),
            upgrade() + JOIN + frame(bytes(100), 2),
            upgrade(DEFLATE) + frame(deflated(JOINING), 0x41) + frame(deflated(SAYING), 0x41),
            upgrade(DEFLATE)
            + JOIN
            + frame(deflated(SAYING)[:9], 0x41, last=False)
            + frame(b"ping", 9)
            + frame(deflated(SAYING)[9:], 0),
            upgrade() + JOIN + frame(b"", 9) * 50 + frame(b"", 1, last=False) * 50,
        ),
        greedy=frame(bytes(125), 9) * 100,
        oversize=(
            upgrade() + JOIN + frame(b"x" * 100_000),
            upgrade()
            + JOIN
            + frame(b"x" * 4000, 1, last=False)
            + frame(b"x" * 4000, 0, last=False) * 500,
            upgrade(DEFLATE) + JOIN + frame(deflated(bytes(50 * MIB)), 0x41) * 20,
            upgrade() + JOIN + frame(b"", 9) * 20_000,
            upgrade() + b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(MIB),
        ),
        prepare=chat_options,
        begin=begin_chat,
        good=good_http,
    ),
]

BY_NAME = {entry.name: entry for entry in ENTRIES}
