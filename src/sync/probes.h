// probes.h: static probes (USDT): a no-operation instruction each, and a note in the binary by
// which perf, bpftrace and gdb find it (docs/probes.md). Nothing where <sys/sdt.h> is missing.
#pragma once

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PERVMA_PROBE(name, first, second) DTRACE_PROBE2(pervma, name, first, second)
#else
#define PERVMA_PROBE(name, first, second) (static_cast<void>(first), static_cast<void>(second))
#endif
