/* Connections by due instant: a binary heap. */
#include "server.h"

#include <stdlib.h>

static Connection **heap;
static int count, room;

static void set(int place, Connection *connection)
{
    heap[place] = connection;
    connection->place = place;
}

static void rise(int place, Connection *connection)
{
    for (; place > 0 && heap[(place - 1) / 2]->due_ns > connection->due_ns; place = (place - 1) / 2)
        set(place, heap[(place - 1) / 2]);
    set(place, connection);
}

static void sink(int place, Connection *connection)
{
    for (;;) {
        int child = 2 * place + 1;
        if (child >= count) break;
        if (child + 1 < count && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= connection->due_ns) break;
        set(place, heap[child]);
        place = child;
    }
    rise(place, connection);
}

Connection *heap_first(void)
{
    return count ? heap[0] : NULL;
}

void heap_put(Connection *connection)
{
    if (count == room) {
        room = room ? 2 * room : 1024;
        heap = realloc(heap, (size_t)room * sizeof *heap);
        if (!heap) die("memory");
    }
    rise(count++, connection);
}

void heap_take(Connection *connection)
{
    int place = connection->place;
    if (place < 0) return;
    connection->place = -1;
    Connection *last = heap[--count];
    if (last != connection) sink(place, last);
}
