/* The script: eight 64-bit words (magic, answers, order, pages, slots, by_max_tokens, keep_bodies, as_asked), then
 * wanted, order, pages, for each answer and variant (end, writes, its writes), then the bytes that offsets point into.
 */
#define _GNU_SOURCE
#include "server.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x3154504952435331LL

void script_read(Script *script, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0) die(path);
    const int64_t *word = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (word == MAP_FAILED || word[0] != MAGIC) die("not a script");
    close(fd);
    script->answers = word[1];
    script->order = word[2];
    script->pages = word[3];
    script->slots = word[4];
    script->by_max_tokens = word[5];
    script->keep_bodies = word[6];
    script->as_asked = word[7];
    word += 8;
    script->wanted = word;
    script->answer_of = word += script->answers;
    script->page = (const Page *)(word += script->order);
    word += script->pages * 4;
    script->answer = calloc((size_t)script->answers, sizeof *script->answer);
    if (!script->answer) die("memory");
    for (int64_t i = 0; i < script->answers * VARIANTS; i++) {
        Answer *answer = &script->answer[i / VARIANTS][i % VARIANTS];
        answer->end = word[0];
        answer->writes = word[1];
        answer->write = (const Write *)(word + 2);
        word += 2 + answer->writes * 3;
    }
    script->bytes = (const char *)word;
}

static const char *value_of(const char *body, size_t length, const char *name)
{
    const char *at = memmem(body, length, name, strlen(name)), *end = body + length;
    if (!at) return NULL;
    for (at += strlen(name); at < end && (*at == ' ' || *at == ':'); at++) continue;
    return at < end ? at : NULL;
}

int script_asked_usage(const char *body, size_t length)
{
    const char *at = value_of(body, length, "\"continuous_usage_stats\"");
    return at && *at == 't';
}

static int64_t number_after(const char *body, size_t length, const char *name)
{
    const char *at = value_of(body, length, name), *end = body + length;
    if (!at) return -1;
    int64_t value = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    return value;
}

int64_t script_choose(const Script *script, int64_t number, const char *body, size_t length)
{
    if (script->by_max_tokens) {
        int64_t asked = number_after(body, length, "\"max_tokens\"");
        if (asked < 0) asked = number_after(body, length, "\"max_completion_tokens\"");
        for (int64_t i = 0; i < script->answers; i++)
            if (script->wanted[i] == asked) return i;
    }
    return script->answer_of[number % script->order];
}
