/* As much of HTTP/1.1 as clients of an inference server send: a head, and a body of a stated length. */
#define _GNU_SOURCE
#include "server.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static size_t content_length(const char *head, const char *end)
{
    static const char NAME[] = "\r\ncontent-length:";
    for (const char *at = head; at + sizeof NAME < end; at++) {
        at = memchr(at, '\r', (size_t)(end - at));
        if (!at || at + sizeof NAME >= end) break;
        if (strncasecmp(at, NAME, sizeof NAME - 1) == 0) return strtoul(at + sizeof NAME - 1, NULL, 10);
    }
    return 0;
}

int http_parse(const char *bytes, size_t length, Message *message)
{
    const char *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) return length > (1 << 16) ? -1 : 0;
    message->body = end + 4;
    message->body_length = content_length(bytes, end + 2);
    message->whole = (size_t)(message->body - bytes) + message->body_length;
    if (message->whole > length) return 0;
    const char *path = memchr(bytes, ' ', (size_t)(end - bytes));
    if (!path) return -1;
    size_t room = (size_t)(end - ++path);
    const char *stop = memchr(path, ' ', room);
    if (!stop) return -1;
    const char *query = memchr(path, '?', (size_t)(stop - path));
    message->path = path;
    message->path_length = (size_t)((query ? query : stop) - path);
    return 1;
}
