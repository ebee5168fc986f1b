/* A server that answers HTTP requests exactly as scripted, over real sockets, and records when it wrote what.
 *
 * It knows nothing of tokens or events: scripted_server.py composes every byte beforehand and writes them into the
 * script, a binary file in this machine's byte order (see script.c). All instants are CLOCK_MONOTONIC, in nanoseconds.
 */
#ifndef SCRIPTED_SERVER_H
#define SCRIPTED_SERVER_H

#include <stddef.h>
#include <stdint.h>

#define VARIANTS 4 /* + 1: chat completions; + 2: usage on every chunk was not asked for */

enum { END_KEEP, END_CLOSE, END_RESET, END_STALL };
enum { STILL_GOING, ENDED_AS_SCRIPTED, CLIENT_LEFT };

/* One write: so long after the one before was due (the first: after the request was read, or given a slot). */
typedef struct {
    int64_t delay_ns;
    uint64_t offset;
    uint64_t length;
} Write;

typedef struct {
    int64_t end;
    int64_t writes;
    const Write *write;
} Answer;

typedef struct {
    uint64_t path, path_length, reply, reply_length;
} Page;

typedef struct {
    int64_t answers, order, pages, slots, by_max_tokens, keep_bodies, as_asked;
    const int64_t *wanted;        /* max_tokens that each answer is for, where by_max_tokens */
    const int64_t *answer_of;     /* order: answer of request i, over and over */
    const Page *page;
    Answer (*answer)[VARIANTS];
    const char *bytes;
} Script;

/* What is remembered of one request; laid out as scripted_server.py reads it. */
typedef struct {
    int64_t began_ns;   /* first byte of the request was seen */
    int64_t read_ns;    /* the request was read whole */
    int64_t started_ns; /* it was given a slot; its delays count from here */
    int64_t ended_ns;
    int64_t answer, variant, connection, nth, ended, blocked, written, writes, body_length;
} Record;

typedef struct {
    Record record;
    char *body;
    int64_t written_ns[]; /* just before the send that took the last byte of each write */
} Request;

typedef struct Connection {
    int fd;
    int blocked, leaving;
    int64_t number, requests;
    char *in;
    size_t in_length, in_room;
    int64_t in_since_ns;
    Request *request; /* NULL between requests */
    const Answer *answer;
    int64_t next;   /* write */
    uint64_t done;  /* bytes of it */
    int64_t due_ns; /* of it */
    int place;      /* in the heap, -1: in none */
    struct Connection *after; /* in the queue for a slot */
} Connection;

int64_t now_ns(void);
void die(const char *what);

/* script.c: map the script; ends the process where it cannot be used. */
void script_read(Script *script, const char *path);
/* Return the answer's index for request `number` with this body. */
int64_t script_choose(const Script *script, int64_t number, const char *body, size_t length);
int script_asked_usage(const char *body, size_t length);

/* http.c */
typedef struct {
    const char *path, *body;
    size_t path_length, body_length, whole;
} Message;
/* Return 1 and fill the message where the bytes hold a whole request, 0 where more are to come, -1 where it is none. */
int http_parse(const char *bytes, size_t length, Message *message);

/* heap.c: connections by due instant. */
Connection *heap_first(void);
void heap_put(Connection *connection);
void heap_take(Connection *connection);

/* truth.c: requests in the order in which they were read. */
Request *truth_begin(int64_t writes, const char *body, size_t length);
int64_t truth_requests(void);
void truth_write(const char *path);
void truth_forget(void);

#endif
