#include "trace/recording.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "trace/input.h"
#include "trace/perf_reader.h"
#include "trace/strace_reader.h"

namespace pervma::trace {
namespace {

TraceResult<Recording> read(const std::string& path) {
  auto source = LineSource::open(path);
  if (!source) return std::unexpected(std::move(source.error()));
  auto first = source->next();
  if (!first) return std::unexpected(std::move(first.error()));
  if (!*first) return std::unexpected(TraceError{path, 1, "the recording is empty"});
  if (looks_like_strace((*first)->text)) return read_strace(*source, **first);
  return read_perf(*source, **first);
}

}  // namespace

NameTable::NameTable() { intern(""); }

NameId NameTable::intern(std::string_view text) {
  if (const auto it = ids_.find(text); it != ids_.end()) return {it->second};
  const auto id = static_cast<uint32_t>(texts_.size());
  texts_.push_back(std::make_unique<const std::string>(text));
  ids_.emplace(*texts_.back(), id);
  return {id};
}

TraceResult<Recording> read_recording(const std::string& path) noexcept {
  // The containers of the standard library throw; nothing of pervma's does.
  try {
    return read(path);
  } catch (const std::bad_alloc&) {
    return std::unexpected(TraceError{path, 0, "not enough memory to read the recording"});
  } catch (const std::length_error&) {
    return std::unexpected(TraceError{path, 0, "too large to read"});
  }
}

}  // namespace pervma::trace
