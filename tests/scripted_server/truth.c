/* What the server did: kept in memory, written as records, then all write instants, then all bodies. */
#define _GNU_SOURCE
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Request **requests;
static int64_t count, room;

Request *truth_begin(int64_t writes, const char *body, size_t length)
{
    if (count == room) {
        room = room ? 2 * room : 1024;
        requests = realloc(requests, (size_t)room * sizeof *requests);
        if (!requests) die("memory");
    }
    Request *request = malloc(sizeof *request + (size_t)writes * sizeof(int64_t));
    if (!request) die("memory");
    memset(&request->record, 0, sizeof request->record);
    request->record.writes = writes;
    request->body = NULL;
    if (body) {
        request->body = malloc(length + 1);
        if (!request->body) die("memory");
        memcpy(request->body, body, length);
        request->record.body_length = (int64_t)length;
    }
    return requests[count++] = request;
}

int64_t truth_requests(void)
{
    return count;
}

void truth_write(const char *path)
{
    char draft[4096];
    snprintf(draft, sizeof draft, "%s.draft", path);
    FILE *file = fopen(draft, "wb");
    if (!file) die(draft);
    fwrite(&count, sizeof count, 1, file);
    for (int64_t i = 0; i < count; i++) fwrite(&requests[i]->record, sizeof(Record), 1, file);
    for (int64_t i = 0; i < count; i++)
        fwrite(requests[i]->written_ns, sizeof(int64_t), (size_t)requests[i]->record.written, file);
    for (int64_t i = 0; i < count; i++)
        if (requests[i]->body) fwrite(requests[i]->body, 1, (size_t)requests[i]->record.body_length, file);
    if (fclose(file) != 0 || rename(draft, path) != 0) die(path);
}

/* Requests that are still being answered are kept: their connections point at them. */
void truth_forget(void)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++) {
        if (requests[i]->record.ended == STILL_GOING) {
            requests[kept++] = requests[i];
            continue;
        }
        free(requests[i]->body);
        free(requests[i]);
    }
    count = kept;
}
