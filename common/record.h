/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - records in memory and in a file; made from the one table records.def.
 *
 * On disk a record is {u32 tag, u32 flags, u64 len, body padded to 8}, a body is its fields in order:
 * numbers 8 bytes little-endian; str and bytes u64 length then the bytes, padded to 8. Integrity is
 * the business of image.h, which keeps an XXH3-64 over each file's whole record section.
 * The reader trusts nothing: every length is checked against what is left. Context: HOST.
 */
#ifndef CKPT_RECORD_H
#define CKPT_RECORD_H

#include "compiler.h"
#include "err.h"
#include "records.def"

struct bytes { const void *data; size_t len; };

typedef uint32_t rec_type_u32;
typedef uint64_t rec_type_u64;
typedef int64_t rec_type_i64;
typedef const char *rec_type_str;
typedef struct bytes rec_type_bytes;

/* struct rec_job, struct rec_task, ... */
#define REC_MEMBER(S, type, field, doc) rec_type_##type field;
#define R(name, tag, need) struct rec_##name { REC_##name(REC_MEMBER, name) };
RECORDS(R)
#undef R

enum rec_tag {
#define R(name, tag, need) REC_TAG_##name = tag,
	RECORDS(R)
#undef R
};

/* Numbers of the kinds of description (rec_desc.kind); never used again. */
enum res_kind {
	RES_FILE = 1, RES_PIPE = 2, RES_EVENTFD = 3, RES_TIMERFD = 4, RES_SIGNALFD = 5, RES_EPOLL = 6,
	RES_TTY = 7, RES_MEMFD = 8, RES_UNIX = 9, RES_INET = 10, RES_INOTIFY = 11, RES_DEVICE = 12,
	RES_DIRECTORY = 13, RES_PIDFD = 14, RES_PROC = 15, RES_MQUEUE = 16, RES_NETLINK = 17,
	RES_PACKET = 18, RES_FANOTIFY = 19,
	RES_KIND_END
};

enum { OBJECT_ANON = 1, OBJECT_MEMFD = 2, OBJECT_DELETED = 3, OBJECT_SHM = 4, OBJECT_SYSV = 5, OBJECT_SHM_DIR = 6 };

/* rec_area.kind */
enum {
	AREA_KIND_ANON = 1,	/* private anonymous, heap, stacks */
	AREA_KIND_FILE = 2,	/* private mapping of a file: pages come from the image, never from the host */
	AREA_KIND_OBJECT = 3,	/* shared memory object of the job */
	AREA_KIND_SHARED = 4,	/* MAP_SHARED of a named file: mapped again by path */
	AREA_KIND_VDSO = 5,	/* the kernel's code: replaced by that of the kernel at the restart */
};

/* rec_area.vmflags */
enum {
	AREA_VM_GROWSDOWN = 0x1, AREA_VM_LOCKED = 0x2, AREA_VM_LOCKONFAULT = 0x4, AREA_VM_NORESERVE = 0x8,
	AREA_VM_DONTFORK = 0x10, AREA_VM_DONTDUMP = 0x20, AREA_VM_WIPEONFORK = 0x40, AREA_VM_HUGEPAGE = 0x80,
	AREA_VM_NOHUGEPAGE = 0x100, AREA_VM_MERGEABLE = 0x200, AREA_VM_SEQ_READ = 0x400, AREA_VM_RAND_READ = 0x800,
	AREA_VM_STACK = 0x1000, AREA_VM_HEAP = 0x2000, AREA_VM_MAYWRITE = 0x4000,
	AREA_VM_SEALED = 0x8000, AREA_VM_DROPPABLE = 0x10000,
	AREA_VM_NEVER_WRITE = 0x20000,	/* where the kernel tells: shared, of what was opened for reading only */
};

/* rec_socket.state */
enum {
	RES_SOCKET_UNCONNECTED, RES_SOCKET_BOUND, RES_SOCKET_LISTENING, RES_SOCKET_CONNECTED,
	RES_SOCKET_CLOSED,	/* its peer is gone */
	RES_SOCKET_CONNECTING	/* connect() is under way */
};

/*
 * A growing array of encoded records. Zero-initialise; free with rec_buf_free(). Running out of
 * memory ends a HOST program with a message (xmalloc), it never returns an error.
 */
struct rec_buf { unsigned char *data; size_t len, cap; };
void rec_buf_free(struct rec_buf *b);

/* rec_put_NAME(b, r) - append one record. NULL str counts as "". */
#define R(name, tag, need) void rec_put_##name(struct rec_buf *b, const struct rec_##name *r);
RECORDS(R)
#undef R

/*
 * Decoded records: an array of {tag, struct}, in file order. str and bytes members point into the
 * buffer given to rec_parse(), which must outlive the list (each str is NUL-terminated in the file).
 */
struct rec { enum rec_tag tag; const void *body; };
struct rec_list { struct rec *recs; size_t count; void *storage; };

/*
 * rec_parse() - decode a whole section.
 * Return: 0, or -1 with E_CORRUPT (lengths, missing NUL) or E_VERSION (unknown required tag).
 */
int rec_parse(const void *data, size_t len, struct rec_list *ret, struct err *err);
void rec_list_free(struct rec_list *l);

/*
 * rec_next_NAME(l, &pos) - the next record of that kind at or behind index *pos, moving *pos behind
 * it; NULL when there is none. Start with pos = 0.
 */
#define R(name, tag, need) const struct rec_##name *rec_next_##name(const struct rec_list *l, size_t *pos);
RECORDS(R)
#undef R
#define rec_first(name, l) rec_next_##name((l), &(size_t){ 0 })

/* For tools that handle all records alike (ckpt_inspect): the table itself. */
enum rec_field_type { REC_u32, REC_u64, REC_i64, REC_str, REC_bytes };
struct rec_field { const char *name; enum rec_field_type type; size_t offset; const char *doc; };
struct rec_desc_entry { const char *name; enum rec_tag tag; int required; size_t size; const struct rec_field *fields; size_t nfields; };
extern const struct rec_desc_entry rec_table[];
extern const size_t rec_table_len;
const struct rec_desc_entry *rec_entry(enum rec_tag tag);

#endif
