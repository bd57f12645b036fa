// relacy.h: Relacy, and an end to the names that its header takes as macros.
//
// relacy_std.hpp, which would map std::atomic itself, does not compile with libstdc++ 12: the
// protocols are templates over a platform, so plain relacy.hpp is all they need.
#pragma once

// Before Relacy: what these declare would otherwise be rewritten by its macros.
#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <source_location>
#include <sstream>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

// Relacy's own warnings are not ours to repair.
#pragma GCC system_header
#include <relacy/relacy.hpp>

#undef $
#undef assert
#undef calloc
#undef delete
#undef errno
#undef free
#undef malloc
#undef memory_order_acq_rel
#undef memory_order_acquire
#undef memory_order_consume
#undef memory_order_relaxed
#undef memory_order_release
#undef memory_order_seq_cst
#undef new
#undef realloc
#undef sched_yield
#undef EAGAIN
#undef EBUSY
#undef EINTR
#undef EINVAL
#undef ETIMEDOUT
#undef EWOULDBLOCK
#undef FUTEX_WAIT
#undef FUTEX_WAKE
#undef futex
#undef pthread_t
#undef pthread_create
#undef pthread_join
#undef pthread_mutex_t
#undef pthread_mutex_init
#undef pthread_mutex_lock
#undef pthread_mutex_unlock
#undef pthread_mutex_destroy
