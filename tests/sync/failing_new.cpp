#include "failing_new.h"

#include <cstddef>
#include <new>

namespace {
thread_local bool t_fail = false;
}  // namespace

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (t_fail) return nullptr;
  try {
    return ::operator new(size);  // So that sanitizers see a matching pair.
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

namespace pervma::test {

FailingNew::FailingNew() noexcept { t_fail = true; }
FailingNew::~FailingNew() { t_fail = false; }

}  // namespace pervma::test
