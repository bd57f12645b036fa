/* c.h: pervma for C11 and for every language that calls C.
 *
 * Handles are opaque. Every function that can fail returns 0 or a positive errno number (EINVAL for
 * a null handle or pointer where one is needed) and writes its results only on success, except
 * where it says so. Structs that callers fill begin with their size: set it to sizeof, so that
 * later versions can add fields at the end. The ABI is stable within one PERVMA_C_ABI: functions
 * and fields are only added. Which call may come from which thread: docs/threading.md.
 */
/* NOLINTBEGIN(modernize-use-using): C. */
#ifndef PERVMA_C_H
#define PERVMA_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PERVMA_C_ABI 1u

/* The PERVMA_C_ABI of the library that was linked. */
uint32_t pervma_c_abi(void);
/* "0.1.0", of the library. */
const char* pervma_version(void);
/* "ENOMEM"; never null. */
const char* pervma_error_name(int error);

/* --- Ending waits ------------------------------------------------------------------------------
 */

typedef struct pervma_stop pervma_stop;

/* ENOMEM. */
int pervma_stop_create(pervma_stop** stop);
/* From now on, waits of this thread's calls end with EINTR when the stop has been requested, and
 * nothing is changed then. Null: they wait on, as at a thread's beginning. */
void pervma_stop_use(pervma_stop* stop);
/* Any thread, once and for all. Null: nothing. */
void pervma_stop_request(pervma_stop* stop);
/* No thread uses it any more. Null: nothing. */
void pervma_stop_destroy(pervma_stop* stop);

/* --- RangeMap: ranges with a pointer each (docs/reference/range-map.md) ----------------------- */

typedef struct pervma_range_map pervma_range_map;

typedef struct pervma_range_map_options {
  uint32_t size;     /* sizeof(pervma_range_map_options) */
  uint32_t reserved; /* 0 */
  /* Called once for every value that leaves the map, when nobody can look at it any more, under no
   * lock; null: values are the caller's business. */
  void (*destroy)(void* context, void* value);
  void* context;
} pervma_range_map_options;

/* The half-open range [start, end) and its value. */
typedef struct pervma_range {
  uint64_t start;
  uint64_t end;
  void* value;
} pervma_range;

/* One range, held against removal and change. In the caller's memory; zeroed is empty. Not to be
 * copied while it holds something. */
typedef struct pervma_range_guard {
  uintptr_t opaque[4];
} pervma_range_guard;

typedef struct pervma_range_map_stats {
  uint32_t size;
  uint32_t reserved;
  uint64_t ranges;
  uint64_t retired; /* out of the map, and still held */
  uint64_t bytes;   /* of memory */
} pervma_range_map_stats;

enum { PERVMA_GAP_LOWEST = 0, PERVMA_GAP_HIGHEST = 1 };

/* `options` may be null. ENOMEM. */
int pervma_range_map_create(const pervma_range_map_options* options, pervma_range_map** map);
/* Destroys all values. Aborts when a guard is left. Null: nothing. */
void pervma_range_map_destroy(pervma_range_map* map);

/* Readers; no lock of the map. They wait only for a writer section that touches the range, or that
 * was in when nothing was found (EINTR: a stop ended that). ENOENT: nothing there. EDEADLK: this
 * thread holds a guard or a writer section of the map. ENOMEM: it holds guards of 64 other maps.
 * EBUSY: the guard holds something. EAGAIN (try only): a writer is in the way; these never wait. */
int pervma_range_find(pervma_range_map* map, uint64_t address, pervma_range_guard* guard);
int pervma_range_try_find(pervma_range_map* map, uint64_t address, pervma_range_guard* guard);
/* The first range that ends behind `from` and begins before `end`. */
int pervma_range_find_next(pervma_range_map* map, uint64_t from, uint64_t end,
                           pervma_range_guard* guard);
/* A copy, whole at one moment, without holding anything: where values are destroyed, this one may
 * be by the time of the return. */
int pervma_range_copy(pervma_range_map* map, uint64_t address, pervma_range* range);
int pervma_range_try_copy(pervma_range_map* map, uint64_t address, pervma_range* range);
/* Where `bytes` addresses in a row are free in [start, end): the place on that side. Takes the map
 * lock for read, and so waits for sections. ENOENT: there is none; EINVAL: no such side. */
int pervma_range_find_gap(pervma_range_map* map, uint64_t start, uint64_t end, uint64_t bytes,
                          int side, uint64_t* at);

/* What a guard holds. EINVAL: it is empty. */
int pervma_range_guard_get(const pervma_range_guard* guard, pervma_range* range);
/* By the thread that found it, or after hand_over() by any. An empty guard: nothing. */
void pervma_range_guard_release(pervma_range_guard* guard);
/* From now on any thread may release it, and this thread counts as holding nothing. */
int pervma_range_guard_hand_over(pervma_range_guard* guard);

/* A writer section, on one thread, between these two; waits for the one that is in. Readers see all
 * that it did when it ends. EDEADLK as above; EINTR: a stop ended the wait, as it ends those of the
 * section's changes for the holders of the ranges that they touch. */
int pervma_range_write_begin(pervma_range_map* map);
int pervma_range_write_end(pervma_range_map* map); /* EPERM: this thread has no section */

/* Inside a section; else EPERM. An error, EINTR and ENOMEM among them, leaves the map as it was and
 * values with the caller. EINVAL: an empty or inverted range; EEXIST: it overlaps one. */
int pervma_range_insert(pervma_range_map* map, uint64_t start, uint64_t end, void* value);
/* Two ranges of the one that holds `at`. ENOENT: none does; EEXIST: there is a boundary already. */
int pervma_range_split(pervma_range_map* map, uint64_t at, void* right_value);
/* One range of the two that meet at `at`; the right value leaves the map. ENOENT: one of them is
 * not there; EINVAL: one range holds both sides. */
int pervma_range_merge(pervma_range_map* map, uint64_t at);
/* The old value goes to *old, the caller's now; with a null `old` it leaves the map as if erased.
 * ENOENT. */
int pervma_range_change(pervma_range_map* map, uint64_t at, void* value, void** old);
/* Waits for the holders of the range. ENOENT. */
int pervma_range_erase(pervma_range_map* map, uint64_t at);
/* Every range that meets [start, end), whole; `count` may be null. */
int pervma_range_erase_in(pervma_range_map* map, uint64_t start, uint64_t end, size_t* count);
/* The same without a wait: the last holder's release lets the value go. */
int pervma_range_retire(pervma_range_map* map, uint64_t at);
int pervma_range_retire_in(pervma_range_map* map, uint64_t start, uint64_t end, size_t* count);
/* Many ranges in order, all or none: EINVAL (one is empty, or out of order), EEXIST, ENOMEM. Into
 * an empty map in linear time, and in one step for readers. */
int pervma_range_load(pervma_range_map* map, const pervma_range* ranges, size_t count);
/* Memory for so many changes of this section in advance. */
int pervma_range_reserve(pervma_range_map* map, size_t changes);
/* With the section's own changes; nothing is held. */
int pervma_range_peek(pervma_range_map* map, uint64_t address, pervma_range* range);
int pervma_range_peek_next(pervma_range_map* map, uint64_t from, uint64_t end, pervma_range* range);

int pervma_range_map_get_stats(pervma_range_map* map, pervma_range_map_stats* stats);
/* Checks every structure. 0, or EIO with what is wrong in `text` (which may be null). */
int pervma_range_map_check(pervma_range_map* map, char* text, size_t size);

/* --- Address spaces (include/pervma/address_space.h) ------------------------------------------ */

typedef struct pervma_engine pervma_engine;
typedef struct pervma_space pervma_space;

typedef struct pervma_page_store pervma_page_store;

typedef struct pervma_engine_options {
  uint32_t size;
  uint32_t reserved; /* 0 */
  uint64_t frames;   /* the memory limit: 4 KiB frames at most; 0: the default */
  uint64_t present;  /* of these, made present at once */
  /* Where pages go when the frames are used up; null: nowhere, and then a fault is ENOMEM. One
   * engine's only; pervma_page_store_destroy() may come before the engine's end. */
  pervma_page_store* swap;
  uint32_t collapser_thread; /* 1: a thread of the engine makes huge pages */
  uint32_t reserved2;        /* 0 */
} pervma_engine_options;

typedef struct pervma_engine_stats {
  uint32_t size;
  uint32_t reserved;
  uint64_t frames_used; /* by pages and page caches */
  uint64_t swap_out;    /* pages written to the store, and brought back by faults */
  uint64_t swap_in;
  uint64_t swap_write_errors; /* the page stayed in memory */
  uint64_t swap_read_errors;  /* the fault was a bus error */
  uint64_t swapped;           /* pages whose place is the store now */
} pervma_engine_stats;

enum {
  PERVMA_HUGE_DEFAULT = 0, /* as advised */
  PERVMA_HUGE_REFUSED = 1,
  PERVMA_HUGE_ADVISED = 2,
  PERVMA_HUGE_ALWAYS = 3
};

typedef struct pervma_space_options {
  uint32_t size;
  uint32_t reserved;
  const char* design; /* a lock design's name, "refcount"; null: the default */
  uint64_t lowest;    /* nothing is mapped below; 0: the default, as in the rest */
  uint64_t top;
  uint64_t mmap_base;
  uint64_t max_map_count;
  uint64_t stack_limit;         /* RLIMIT_STACK, bytes */
  uint64_t address_space_limit; /* RLIMIT_AS, bytes */
  uint64_t memlock_limit;       /* RLIMIT_MEMLOCK, bytes; 0: none */
  uint32_t huge_pages;          /* PERVMA_HUGE_... */
  uint32_t reserved2;           /* 0 */
} pervma_space_options;

enum { PERVMA_READ = 0, PERVMA_WRITE = 1, PERVMA_EXEC = 2 };
typedef int pervma_access; /* one of these; an integer, so that any value may be passed */

/* A file of the host, made or emptied, which has no name any more when the call returns. Errors of
 * open(2) and ftruncate(2). */
int pervma_file_store_create(const char* path, uint64_t pages, pervma_page_store** store);
enum { PERVMA_LZ4 = 0, PERVMA_ZSTD = 1 };
/* Compressed memory, `bytes` at most; in the library pervma_compressed. */
int pervma_compressed_store_create(int compression, uint64_t pages, uint64_t bytes,
                                   pervma_page_store** store);
/* The caller's handle; an engine that uses the store keeps it. Null: nothing. */
void pervma_page_store_destroy(pervma_page_store* store);

/* `options` may be null. Reserves address space for all frames; ENOMEM: there is no room. */
int pervma_engine_create(const pervma_engine_options* options, pervma_engine** engine);
/* All its spaces must be gone. Null: nothing. */
void pervma_engine_destroy(pervma_engine* engine);
int pervma_engine_get_stats(pervma_engine* engine, pervma_engine_stats* stats);
/* `options` may be null. EINVAL: no such design, or values that do not go together. */
int pervma_space_create(pervma_engine* engine, const pervma_space_options* options,
                        pervma_space** space);
/* As fork(2) duplicates a process's space. Takes the parent's mmap lock for write, and waits for
 * the readers of each of its VMAs. ENOMEM, EINTR: the parent is as it was, there is no child. */
int pervma_space_fork(pervma_engine* engine, pervma_space* parent, pervma_space** child);
/* No thread is in a call on it, and no VMA is held. Null: nothing. */
void pervma_space_destroy(pervma_space* space);

/* The system calls of the same names, with Linux's values of prot, flags and advice and Linux's
 * errors. Mappings of pervma_mmap() are anonymous (MAP_ANONYMOUS must be set). They take the mmap
 * lock, most of them for write, and wait for the readers of the VMAs that they change; EINTR: a
 * stop ended a wait. */
int pervma_mmap(pervma_space* space, uint64_t address, uint64_t length, uint32_t prot,
                uint32_t flags, uint64_t* at);
int pervma_munmap(pervma_space* space, uint64_t address, uint64_t length);
int pervma_mprotect(pervma_space* space, uint64_t address, uint64_t length, uint32_t prot);
int pervma_madvise(pervma_space* space, uint64_t address, uint64_t length, int32_t advice);
int pervma_mlock(pervma_space* space, uint64_t address, uint64_t length);
int pervma_munlock(pervma_space* space, uint64_t address, uint64_t length);
int pervma_mremap(pervma_space* space, uint64_t address, uint64_t length, uint64_t new_length,
                  uint32_t flags, uint64_t new_address, uint64_t* at);

/* Where the heap begins: once, before the first pervma_brk(). */
int pervma_set_brk_start(pervma_space* space, uint64_t start);
/* The new break to *now, or the old one when it is refused; an address of 0 asks. */
int pervma_brk(pervma_space* space, uint64_t address, uint64_t* now);

/* One page fault, as the hardware reports it; and what a program's loads and stores do. EFAULT:
 * nothing is mapped there; EACCES: the mapping does not allow it; EIO: a bus error; ENOMEM. A VMA
 * read lock, and the mmap lock for read only when that fails: only then a fault waits (EINTR). */
int pervma_fault(pervma_space* space, uint64_t address, pervma_access access);
int pervma_load(pervma_space* space, uint64_t address, void* to, size_t bytes);
int pervma_store(pervma_space* space, uint64_t address, const void* from, size_t bytes);

/* The text of /proc/PID/maps with a final null, and its length without it in *length (written
 * always). ERANGE: `size` is too small; `text` may be null when size is 0. */
int pervma_maps(pervma_space* space, char* text, size_t size, size_t* length);

/* --- Files (include/pervma/file.h) ------------------------------------------------------------ */

typedef struct pervma_object pervma_object; /* something with pages: the caller's */
typedef struct pervma_file pervma_file;     /* one opening of it in one engine */

enum {
  PERVMA_OBJECT_UNAUDITED = 0, /* faults on its pages are served under the mmap lock */
  PERVMA_OBJECT_AUDITED = 1,   /* read_page takes no lock that is held while calling a space */
  PERVMA_OBJECT_MEMORY = 2     /* besides, it never waits */
};

/* Called from any thread, by several at once, while an opening exists; they may not call a space.
 * The two of pages return 0 or an errno number. */
typedef struct pervma_object_options {
  uint32_t size;
  uint32_t vma_lock_safety; /* PERVMA_OBJECT_... */
  void* context;
  /* Bytes now. Whoever makes it fewer says so afterwards with pervma_file_truncate(). */
  uint64_t (*get_size)(void* context);
  /* Fills 4 KiB, which are zero, with page `index`; bytes beyond the size must stay zero. */
  int (*read_page)(void* context, uint64_t index, void* page);
  /* Keeps what was stored through shared mappings, for pervma_msync(); null: nothing is kept. */
  int (*write_page)(void* context, uint64_t index, const void* page);
  /* Once, when the handle and the last opening and mapping are gone; may be null. */
  void (*destroy)(void* context);
  const char* name; /* as /proc/PID/maps shows it; copied; null: empty */
  uint64_t inode;
  uint32_t device_major;
  uint32_t device_minor;
} pervma_object_options;

/* EINVAL: get_size or read_page is null. */
int pervma_object_create(const pervma_object_options* options, pervma_object** object);
enum { PERVMA_FILE_READ_ONLY = 0, PERVMA_FILE_READ_WRITE = 1 };
/* A regular file of the host (open_host_file() in include/pervma/host_object.h). Errors of open(2);
 * ENODEV: not a regular file. */
int pervma_object_open(const char* path, int mode, pervma_object** object);
/* The caller's handle; openings keep the object. Null: nothing. */
void pervma_object_release(pervma_object* object);

int pervma_file_open(pervma_engine* engine, pervma_object* object, int mode, pervma_file** file);
/* Mappings keep it open. Before the engine's end. Null: nothing. */
void pervma_file_close(pervma_file* file);
/* The object has become shorter: pages beyond its end leave every mapping. */
int pervma_file_truncate(pervma_file* file);
/* mmap(2) of a file; the offset is in bytes. */
int pervma_mmap_file(pervma_space* space, uint64_t address, uint64_t length, uint32_t prot,
                     uint32_t flags, pervma_file* file, uint64_t offset, uint64_t* at);
/* msync(2), with Linux's flags. */
int pervma_msync(pervma_space* space, uint64_t address, uint64_t length, uint32_t flags);

/* --- VMAs ------------------------------------------------------------------------------------- */

/* Flags of a VMA, among others. */
enum {
  PERVMA_VMA_READ = 1 << 0,
  PERVMA_VMA_WRITE = 1 << 1,
  PERVMA_VMA_EXEC = 1 << 2,
  PERVMA_VMA_SHARED = 1 << 3,
  PERVMA_VMA_GROWSDOWN = 1 << 8,
  PERVMA_VMA_LOCKED = 1 << 10,
  PERVMA_VMA_DONT_COPY = 1 << 15,
  PERVMA_VMA_SEALED = 1 << 25
};

typedef struct pervma_vma {
  uint32_t size;
  uint32_t flags; /* PERVMA_VMA_... */
  uint64_t start;
  uint64_t end;
  uint64_t page_offset; /* pages into the file */
  uint64_t inode;       /* of the file; 0: anonymous */
} pervma_vma;

/* One VMA, held by its read lock: it stays as it is, and whoever wants to change it waits. In the
 * caller's memory; zeroed is empty. Not to be copied while it holds something. A thread calls
 * nothing of the space but the guard while it holds one, and releases it itself. */
typedef struct pervma_vma_guard {
  uintptr_t opaque[4];
} pervma_vma_guard;

/* Takes no lock of the space and never waits. EAGAIN: no VMA is there, a writer is in the way, or
 * the design locks no VMAs for read. EBUSY: the guard holds one already. */
int pervma_vma_try_hold(pervma_space* space, uint64_t address, pervma_vma_guard* guard);
/* What it holds; `vma->size` is the caller's. EINVAL: it is empty. */
int pervma_vma_guard_get(const pervma_vma_guard* guard, pervma_vma* vma);
/* An empty guard, null: nothing. */
void pervma_vma_guard_release(pervma_vma_guard* guard);
/* A copy of what is at the address, under the mmap lock for read. ENOENT: nothing. */
int pervma_vma_find(pervma_space* space, uint64_t address, pervma_vma* vma);

#ifdef __cplusplus
}
#endif

#endif /* PERVMA_C_H */
/* NOLINTEND(modernize-use-using) */
