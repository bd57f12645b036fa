// page_store.h: where pages go when memory is short: compressed memory, a file, or the embedder's
// own. An engine has at most one, given with EngineOptions::swap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "pervma/address.h"
#include "pervma/error.h"

namespace pervma {

// Pages by number. Any thread may call anything; for one number, calls come one after the other,
// except that reads may overlap. No call comes back into the engine.
class PageStore {
 public:
  // Whether read() waits for a device: then faults let go of all locks before they call it.
  enum class Speed : uint8_t { memory, device };

  virtual ~PageStore() = default;
  PageStore(const PageStore&) = delete;
  PageStore& operator=(const PageStore&) = delete;

  // How many pages it takes at most: numbers are below. Constant.
  virtual uint64_t capacity() const noexcept = 0;
  virtual Speed speed() const noexcept = 0;
  // Keeps the page under a number that has none. On failure nothing is kept.
  virtual Result<void> write(uint64_t number,
                             std::span<const std::byte, kPageSize> page) noexcept = 0;
  // Gives back what was kept under the number, which stays.
  virtual Result<void> read(uint64_t number, std::span<std::byte, kPageSize> page) noexcept = 0;
  // Forgets it.
  virtual void discard(uint64_t number) noexcept = 0;

 protected:
  PageStore() = default;
};

// A file of the host, made or emptied, read and written directly where its file system allows that;
// it has no name any more when the call returns. Errors are those of open(2) and ftruncate(2).
Result<std::unique_ptr<PageStore>> make_file_store(const char* path, PageCount capacity) noexcept;

enum class Compression : uint8_t { lz4, zstd };

// Memory of this process, outside the engine's frames: at most `memory` bytes for what `capacity`
// pages compress to. A write beyond that fails. In the library pervma_compressed, which needs
// liblz4 and libzstd.
struct CompressedStoreOptions {
  Compression compression = Compression::lz4;
  PageCount capacity{uint64_t{1} << 20};
  uint64_t memory = uint64_t{1} << 30;
};
Result<std::unique_ptr<PageStore>> make_compressed_store(const CompressedStoreOptions&) noexcept;

// What the engine did with its store.
struct SwapCounters {
  uint64_t out = 0;           // pages written
  uint64_t in = 0;            // pages that faults brought back, from the store or before they left
  uint64_t write_errors = 0;  // the page stayed in memory
  uint64_t read_errors = 0;   // the fault was a bus error
  uint64_t slots = 0;         // pages whose place is the store now
};

}  // namespace pervma
