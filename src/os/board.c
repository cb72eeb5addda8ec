/*
 * Shared numbers: see board.h. The memory is only address space until it is
 * written to, so it is made large enough for any node.
 */
#include "config.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "os/board.h"

#define SEATS_A_QUEUE 2		/* a leader, and one that drains */
#define SEATS_MORE 64
#define READS_MAX 100
#define MS INT64_C(1000)
#define SECOND INT64_C(1000000)

/* Two texts by turns: the even ones and the odd ones. */
struct page {
	_Atomic uint64_t turn;		/* published so far */
	mono_t at[2];
	size_t len[2];
	char bytes[2][BOARD_PAGE_MAX];
};

struct seat {
	_Atomic size_t queue;		/* number from 1; 0: free */
	_Atomic uint32_t workers[BOARD_WORKER_STATES];
};

struct board {
	_Atomic int state;
	_Atomic int64_t beat;
	_Atomic uint64_t cpu_us;
	unsigned char secret[BOARD_SECRET];
	struct page pages[BOARD_PAGES];
	size_t capacity, nseats;
	_Atomic size_t nqueues;
	struct seat *seats;		/* in this memory, too */
	struct board_queue queues[];
};

const char *const board_outcomes[] = { "completed", "failed", "dead",
    "cancelled", "lost" };
const char *const board_workers[] = { "starting", "idle", "busy", "leaving" };
const int64_t board_bounds_us[] = { 1 * MS, 5 * MS, 10 * MS, 50 * MS, 100 * MS,
    500 * MS, 1 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND,
    300 * SECOND, 900 * SECOND, 3600 * SECOND };

static struct board *board;		/* NULL: there is none */
static size_t board_size;
static int own_seat;			/* number from 1; 0: none */

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/*
 * The master
 */

int
board_make(size_t queues, struct err *e)
{
	size_t capacity = queues + BOARD_MORE_QUEUES;
	size_t nseats = capacity * SEATS_A_QUEUE + SEATS_MORE;
	size_t head = sizeof(*board) + capacity * sizeof(board->queues[0]);
	void *memory;

	board_size = head + nseats * sizeof(struct seat);
	memory = mmap(NULL, board_size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return err_errno(e, "no memory for the counters");
	board = memory;
	board->capacity = capacity;
	board->nseats = nseats;
	board->seats = (struct seat *)((char *)memory + head);
	arc4random_buf(board->secret, sizeof(board->secret));
	board_beat();
	return 0;
}

static size_t
find(const char *name)		/* nqueues: it is not there */
{
	size_t i, n = atomic_load(&board->nqueues);

	for (i = 0; i < n; i++)
		if (strcmp(board->queues[i].name, name) == 0)
			break;
	return i;
}

int
board_add(const char *name)
{
	size_t n, i;

	if (board == NULL)
		return 0;
	n = atomic_load(&board->nqueues);
	if ((i = find(name)) < n)
		return 0;
	if (n == board->capacity)
		return -1;
	strlcpy(board->queues[i].name, name, sizeof(board->queues[i].name));
	atomic_store(&board->nqueues, n + 1);
	return 0;
}

void
board_set_state(enum board_state state)
{
	if (board != NULL)
		atomic_store(&board->state, (int)state);
}

void
board_beat(void)
{
	if (board != NULL)
		atomic_store(&board->beat, mono_now());
}

int
board_seat_take(const char *queue)
{
	size_t i;

	if (board == NULL || (i = find(queue)) == atomic_load(&board->nqueues))
		return 0;
	for (size_t k = 0; k < board->nseats; k++)
		if (atomic_load(&board->seats[k].queue) == 0) {
			for (int s = 0; s < BOARD_WORKER_STATES; s++)
				atomic_store(&board->seats[k].workers[s], 0);
			atomic_store(&board->seats[k].queue, i + 1);
			return (int)k + 1;
		}
	return 0;
}

void
board_seat_leave(int seat)
{
	if (board != NULL && seat > 0)
		atomic_store(&board->seats[seat - 1].queue, 0);
}

/* A worker runs what others wrote: it has no business here. */
void
board_enter(int seat)
{
	own_seat = seat;
	if (board != NULL && seat < 0) {
		munmap(board, board_size);
		board = NULL;
	}
}

/*
 * Leaders
 */

struct board_queue *
board_queue(const char *name)
{
	static struct board_queue nowhere;
	size_t i = board != NULL ? find(name) : 0;

	return board != NULL && i < atomic_load(&board->nqueues) ?
	    &board->queues[i] : &nowhere;
}

static uint32_t
hash_of(const char *name)	/* FNV-1a */
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
	return hash != 0 ? hash : 1;
}

/*
 * Two leaders of one queue may meet a new type at once: the first takes the
 * place. While its name is being written, and when all places are taken, a
 * type counts among the others. One that is called so belongs there.
 */
static struct board_type *
find_type(struct board_queue *q, const char *name)
{
	uint32_t hash = hash_of(name);

	for (uint32_t i = 0; i < BOARD_TYPES; i++) {
		struct board_type *t = &q->types[(hash + i) % BOARD_TYPES];
		uint32_t found = atomic_load(&t->hash);

		if (found == 0 && strcmp(name, BOARD_OTHER) == 0)
			break;
		if (found == 0 && atomic_compare_exchange_strong(&t->hash,
		    &found, hash)) {
			strlcpy(t->name, name, sizeof(t->name));
			atomic_store_explicit(&t->named, true,
			    memory_order_release);
			return t;
		}
		if (found != hash)
			continue;
		if (!atomic_load_explicit(&t->named, memory_order_acquire))
			break;
		if (strcmp(t->name, name) == 0)
			return t;
	}
	return &q->other;
}

void
board_expect(const char *queue, const char *type)
{
	if (board != NULL)
		find_type(board_queue(queue), type);
}

/* Jobs of one type come in rows. */
static struct board_type *
type_of(struct board_queue *q, const char *name)
{
	static struct board_queue *queue;
	static struct board_type *last;

	if (queue != q || last == &q->other || strcmp(last->name, name) != 0) {
		queue = q;
		last = find_type(q, name);
	}
	return last;
}

void
board_finished(struct board_queue *q, const char *type, enum board_outcome o)
{
	if (o < BOARD_OUTCOMES)
		count(&type_of(q, type)->finished[o], 1);
}

static void
observe(struct board_histogram *h, int64_t us, uint64_t times)
{
	int i = 0;

	if (us < 0)
		us = 0;
	while (i < BOARD_BOUNDS && us > board_bounds_us[i])
		i++;
	count(&h->counts[i], times);
	count(&h->sum_us, (uint64_t)us * times);
}

void
board_ran(struct board_queue *q, int64_t run_us)
{
	observe(&q->run, run_us, 1);
}

void
board_waited(struct board_queue *q, int64_t wait_us, uint64_t jobs)
{
	observe(&q->wait, wait_us, jobs);
}

void
board_lease_lost(struct board_queue *q, uint64_t jobs)
{
	count(&q->lease_lost, jobs);
}

void
board_seat_workers(const uint32_t n[BOARD_WORKER_STATES])
{
	if (board == NULL || own_seat <= 0)
		return;
	for (int s = 0; s < BOARD_WORKER_STATES; s++)
		atomic_store(&board->seats[own_seat - 1].workers[s], n[s]);
}

/*
 * Pages
 */

int
board_publish(enum board_page which, const void *data, size_t len, struct err *e)
{
	struct page *p;
	uint64_t turn;
	bool fits = len <= BOARD_PAGE_MAX;

	if (board == NULL)
		return 0;
	p = &board->pages[which];
	turn = atomic_load(&p->turn) + 1;
	/* The other text, which whoever reads now has not been told of. */
	p->at[turn % 2] = mono_now();
	p->len[turn % 2] = fits ? len : 0;
	if (fits && len > 0)
		memcpy(p->bytes[turn % 2], data, len);
	atomic_store_explicit(&p->turn, turn, memory_order_release);
	return fits ? 0 : err_set(e, "%zu bytes are too many", len);
}

/* It is whole if nothing was published meanwhile: what is being written now
 * is the other one. */
mono_t
board_read(enum board_page which, struct buf *b)
{
	struct page *p;

	for (int i = 0; board != NULL && i < READS_MAX; i++) {
		uint64_t turn;
		mono_t at;
		size_t len;

		p = &board->pages[which];
		turn = atomic_load_explicit(&p->turn, memory_order_acquire);
		if (turn == 0)
			break;
		at = p->at[turn % 2];
		len = p->len[turn % 2];
		buf_reset(b);
		if (len <= BOARD_PAGE_MAX)
			buf_put(b, p->bytes[turn % 2], len);
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load(&p->turn) == turn)
			return mono_now() - at;
		sched_yield();
	}
	buf_reset(b);
	return -1;
}

void
board_gauge(struct buf *b, enum board_gauge_kind kind, const char *a,
    const char *label, double value)
{
	struct board_gauge g;

	memset(&g, 0, sizeof(g));
	g.kind = kind;
	g.value = value;
	strlcpy(g.a, a != NULL ? a : "", sizeof(g.a));
	strlcpy(g.b, label != NULL ? label : "", sizeof(g.b));
	buf_put(b, &g, sizeof(g));
}

/*
 * Reading
 */

const unsigned char *
board_secret(void)
{
	static const unsigned char none[BOARD_SECRET];

	return board ? board->secret : none;
}

enum board_state
board_state(void)
{
	return board != NULL ? (enum board_state)atomic_load(&board->state) :
	    BOARD_STARTING;
}

mono_t
board_since_beat(void)
{
	return board != NULL ? mono_now() - atomic_load(&board->beat) : INT64_MAX;
}

size_t
board_count(void)
{
	return board != NULL ? atomic_load(&board->nqueues) : 0;
}

struct board_queue *
board_at(size_t i)
{
	return &board->queues[i];
}

void
board_count_workers(size_t queue, uint64_t n[BOARD_WORKER_STATES])
{
	memset(n, 0, BOARD_WORKER_STATES * sizeof(*n));
	for (size_t k = 0; k < board->nseats; k++)
		for (int s = 0; s < BOARD_WORKER_STATES &&
		    atomic_load(&board->seats[k].queue) == queue + 1; s++)
			n[s] += atomic_load(&board->seats[k].workers[s]);
}

uint64_t
board_cpu_us(uint64_t now)
{
	uint64_t known;

	if (board == NULL)
		return now;
	known = atomic_load(&board->cpu_us);
	while (known < now && !atomic_compare_exchange_weak(&board->cpu_us,
	    &known, now))
		;
	return known > now ? known : now;
}
