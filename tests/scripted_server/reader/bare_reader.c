/* The least that a client can do: send requests, read what comes, note when, and see where an answer ends.
 *
 * bare_reader PORT CONCURRENCY REQUESTS BODY_FILE [chat]: says in one line of JSON how many reads and bytes it took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOM 65536
#define END "\r\n0\r\n\r\n"

typedef struct {
    int fd;
    char tail[sizeof END - 1]; /* last bytes of what was read */
    long long last_ns;
} Stream;

static char request[1 << 20], in[ROOM];
static size_t request_length;
static int port, poller;
static long long reads, bytes, latest_ns, left;

static void die(const char *what)
{
    fprintf(stderr, "bare reader: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void ask(Stream *stream)
{
    left--;
    memset(stream->tail, 0, sizeof stream->tail);
    if (send(stream->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) die("send");
}

static void join(Stream *stream)
{
    int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
    address.sin_port = htons((unsigned short)port);
    stream->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (stream->fd < 0 || connect(stream->fd, (void *)&address, sizeof address) < 0) die("connect");
    setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, stream->fd, &event) < 0) die("epoll_ctl");
}

/* Return 1 where the answer is whole. */
static int take(Stream *stream)
{
    ssize_t got = recv(stream->fd, in, ROOM, 0);
    if (got <= 0) die("recv");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long now_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
    if (now_ns - stream->last_ns > latest_ns && stream->last_ns) latest_ns = now_ns - stream->last_ns;
    stream->last_ns = now_ns;
    reads++;
    bytes += got;
    size_t keep = sizeof stream->tail, length = (size_t)got;
    if (length >= keep) {
        memcpy(stream->tail, in + length - keep, keep);
    } else {
        memmove(stream->tail, stream->tail + length, keep - length);
        memcpy(stream->tail + keep - length, in, length);
    }
    return memcmp(stream->tail, END, keep) == 0;
}

static void read_body(const char *path, const char *api)
{
    static char body[1 << 19];
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    size_t length = fread(body, 1, sizeof body, file);
    fclose(file);
    int head = snprintf(request, sizeof request,
                        "POST /v1/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        api, length);
    memcpy(request + head, body, length);
    request_length = (size_t)head + length;
}

int main(int count, char **words)
{
    struct epoll_event events[256];
    if (count < 5) die("usage: bare_reader PORT CONCURRENCY REQUESTS BODY_FILE [chat]");
    port = atoi(words[1]);
    int concurrency = atoi(words[2]), open = concurrency;
    left = atoll(words[3]);
    read_body(words[4], count > 5 ? "chat/completions" : "completions");
    poller = epoll_create1(0);
    Stream *streams = calloc((size_t)concurrency, sizeof *streams);
    for (int i = 0; i < concurrency; i++) join(&streams[i]);
    for (int i = 0; i < concurrency; i++) ask(&streams[i]);
    while (open) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            Stream *stream = events[i].data.ptr;
            if (!take(stream)) continue;
            if (left > 0) {
                ask(stream);
            } else {
                close(stream->fd);
                open--;
            }
        }
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"reads\": %lld, \"bytes\": %lld, \"longest_gap_ns\": %lld, \"cpu_s\": %.6f}\n", reads, bytes, latest_ns,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6);
    return 0;
}
