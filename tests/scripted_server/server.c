/* The loop: connections, requests, and writes at their instants.
 *
 * server SCRIPT TRUTH: says its port on stdout, plays until stdin ends, takes the orders `truth` (write the file) and
 * `forget` (requests that have ended) on stdin, and answers each with the number of requests it remembers.
 */
#define _GNU_SOURCE
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define AT_ONCE 128 /* writes before sockets are looked at again */

static Script script;
static const char *truth_path;
static int poller, timer, listener;
static int64_t connections, number, active, armed_ns;
static Connection *waiting, **waiting_end = &waiting, *gone;
static const char NOT_FOUND[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void die(const char *what)
{
    fprintf(stderr, "scripted server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(Connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(poller, operation, connection->fd, &event) < 0) die("epoll_ctl");
}

/* An event of the same round may still name it: it is freed when the round is over. */
static void leave(Connection *connection)
{
    if (connection->leaving) return;
    connection->leaving = 1;
    heap_take(connection);
    close(connection->fd);
    free(connection->in);
    connection->in = NULL;
    connection->after = gone;
    gone = connection;
}

static void start(Connection *connection);

static void give_slot(void)
{
    active--;
    if (!waiting || (script.slots && active >= script.slots)) return;
    Connection *next = waiting;
    waiting = next->after;
    if (!waiting) waiting_end = &waiting;
    start(next);
}

static void out_of_queue(Connection *connection)
{
    for (Connection **at = &waiting; *at; at = &(*at)->after)
        if (*at == connection) {
            *at = connection->after;
            break;
        }
    for (waiting_end = &waiting; *waiting_end;) waiting_end = &(*waiting_end)->after;
}

static void client_left(Connection *connection)
{
    Request *request = connection->request;
    if (request && request->record.ended == STILL_GOING) {
        int had_slot = request->record.started_ns != 0;
        request->record.ended = CLIENT_LEFT;
        request->record.ended_ns = now_ns();
        if (!had_slot) out_of_queue(connection);
        leave(connection);
        if (had_slot) give_slot();
        return;
    }
    leave(connection);
}

static void take_requests(Connection *connection);

static void end(Connection *connection)
{
    int64_t how = connection->answer->end;
    if (how == END_STALL) return;
    connection->request->record.ended = ENDED_AS_SCRIPTED;
    connection->request->record.ended_ns = now_ns();
    connection->request = NULL;
    if (how == END_RESET) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    if (how != END_KEEP) leave(connection);
    give_slot();
    if (how == END_KEEP) take_requests(connection);
}

/* Go on with the connection's writes as far as they are due and the socket takes them. */
static void play(Connection *connection)
{
    Request *request = connection->request;
    const Answer *answer = connection->answer;
    while (connection->next < answer->writes) {
        const Write *write = &answer->write[connection->next];
        int64_t now = now_ns();
        if (connection->due_ns > now) {
            heap_put(connection);
            return;
        }
        const char *bytes = script.bytes + write->offset + connection->done;
        ssize_t sent = send(connection->fd, bytes, write->length - connection->done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            client_left(connection);
            return;
        }
        connection->done += sent > 0 ? (uint64_t)sent : 0;
        if (connection->done < write->length) {
            request->record.blocked++;
            connection->blocked = 1;
            watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        request->written_ns[connection->next++] = now;
        request->record.written = connection->next;
        connection->done = 0;
        if (connection->next < answer->writes) connection->due_ns += answer->write[connection->next].delay_ns;
    }
    end(connection);
}

static void start(Connection *connection)
{
    const Answer *answer = connection->answer;
    active++;
    connection->request->record.started_ns = now_ns();
    connection->next = 0;
    connection->done = 0;
    connection->due_ns = connection->request->record.started_ns + (answer->writes ? answer->write[0].delay_ns : 0);
    /* Never played from here: it may be called from the end of another answer. */
    heap_put(connection);
}

static int ends_with(const Message *message, const char *tail)
{
    size_t length = strlen(tail);
    return message->path_length >= length && memcmp(message->path + message->path_length - length, tail, length) == 0;
}

static void reply_page(Connection *connection, const Message *message)
{
    const char *bytes = NOT_FOUND;
    size_t length = sizeof NOT_FOUND - 1;
    for (int64_t i = 0; i < script.pages; i++) {
        const Page *page = &script.page[i];
        if (page->path_length == message->path_length &&
            memcmp(script.bytes + page->path, message->path, page->path_length) == 0) {
            bytes = script.bytes + page->reply;
            length = page->reply_length;
        }
    }
    if (send(connection->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) client_left(connection);
}

static void take_request(Connection *connection, const Message *message)
{
    if (!ends_with(message, "/completions")) {
        reply_page(connection, message);
        return;
    }
    int variant = ends_with(message, "/chat/completions");
    if (script.as_asked && !script_asked_usage(message->body, message->body_length)) variant += 2;
    int64_t chosen = script_choose(&script, number++, message->body, message->body_length);
    const Answer *answer = &script.answer[chosen][variant];
    Request *request = truth_begin(answer->writes, script.keep_bodies ? message->body : NULL, message->body_length);
    request->record.began_ns = connection->in_since_ns;
    request->record.read_ns = now_ns();
    request->record.answer = chosen;
    request->record.variant = variant;
    request->record.connection = connection->number;
    request->record.nth = connection->requests++;
    connection->request = request;
    connection->answer = answer;
    if (script.slots && active >= script.slots) {
        connection->after = NULL;
        *waiting_end = connection;
        waiting_end = &connection->after;
    } else {
        start(connection);
    }
}

/* Take what has been read whole; one request at a time. */
static void take_requests(Connection *connection)
{
    Message message;
    while (!connection->leaving && !connection->request && connection->in_length) {
        int whole = http_parse(connection->in, connection->in_length, &message);
        if (whole < 0) leave(connection);
        if (whole <= 0) return;
        take_request(connection, &message);
        if (connection->leaving) return;
        connection->in_length -= message.whole;
        memmove(connection->in, connection->in + message.whole, connection->in_length);
    }
}

static void receive(Connection *connection)
{
    for (;;) {
        if (connection->in_room - connection->in_length < 16384) {
            connection->in_room = connection->in_room ? 2 * connection->in_room : 32768;
            connection->in = realloc(connection->in, connection->in_room);
            if (!connection->in) die("memory");
        }
        size_t room = connection->in_room - connection->in_length;
        ssize_t got = recv(connection->fd, connection->in + connection->in_length, room, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            client_left(connection);
            return;
        }
        if (got < 0) break;
        if (!connection->in_length) connection->in_since_ns = now_ns();
        connection->in_length += (size_t)got;
        if ((size_t)got < room) break;
    }
    take_requests(connection);
}

static void welcome(void)
{
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Connection *connection = calloc(1, sizeof *connection);
        if (!connection) die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connection->fd = fd;
        connection->number = connections++;
        connection->place = -1;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
}

static void obey(void)
{
    static char line[64];
    static size_t length;
    ssize_t got = read(0, line + length, sizeof line - length - 1);
    if (got <= 0) {
        truth_write(truth_path);
        exit(0);
    }
    line[length += (size_t)got] = 0;
    for (char *stop; (stop = strchr(line, '\n'));) {
        *stop = 0;
        if (strcmp(line, "truth") == 0) truth_write(truth_path);
        if (strcmp(line, "forget") == 0) truth_forget();
        printf("%lld\n", (long long)truth_requests());
        fflush(stdout);
        length -= (size_t)(stop + 1 - line);
        memmove(line, stop + 1, length + 1);
    }
}

static void serve(struct epoll_event *event)
{
    Connection *connection = event->data.ptr;
    if (event->data.ptr == &listener) {
        welcome();
    } else if (event->data.ptr == &obey) {
        obey();
    } else if (event->data.ptr == &timer) {
        uint64_t times;
        armed_ns = 0;
        if (read(timer, &times, sizeof times) < 0 && errno != EAGAIN) die("timer");
    } else if (!connection->leaving) {
        if (connection->blocked && event->events & EPOLLOUT) {
            connection->blocked = 0;
            watch(connection, EPOLL_CTL_MOD, EPOLLIN);
            play(connection);
        }
        if (!connection->leaving && event->events & ~(uint32_t)EPOLLOUT) receive(connection);
    }
}

/* Have the timer end the wait when the next write is due; say whether there is anything to wait for. */
static int wait_ms(void)
{
    Connection *first = heap_first();
    if (!first) return -1;
    if (first->due_ns <= now_ns()) return 0;
    if (armed_ns == 0 || first->due_ns < armed_ns) {
        struct itimerspec at = {.it_value = {first->due_ns / 1000000000, first->due_ns % 1000000000}};
        if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL) < 0) die("timer");
        armed_ns = first->due_ns;
    }
    return -1;
}

static void listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (void *)&address, length) < 0 || listen(listener, 4096) < 0) die("listen");
    if (getsockname(listener, (void *)&address, &length) < 0) die("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void watch_for(int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

int main(int count, char **words)
{
    struct rlimit files;
    struct epoll_event events[EVENTS];
    if (count != 3) die("usage: server SCRIPT TRUTH");
    script_read(&script, words[1]);
    truth_path = words[2];
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller < 0 || timer < 0) die("epoll, timerfd");
    listen_somewhere();
    watch_for(listener, &listener);
    watch_for(timer, &timer);
    watch_for(0, &obey);
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, wait_ms());
        if (ready < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < ready; i++) serve(&events[i]);
        Connection *first;
        for (int i = 0; i < AT_ONCE && (first = heap_first()) && first->due_ns <= now_ns(); i++) {
            heap_take(first);
            play(first);
        }
        for (Connection *next; gone; gone = next) {
            next = gone->after;
            free(gone);
        }
    }
}
