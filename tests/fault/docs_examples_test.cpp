// The examples in README.md and docs/reference compile, run, and are the ones that stand there.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "pervma/pervma.h"

namespace {

constexpr auto kReadWrite = pervma::Prot::read | pervma::Prot::write;
constexpr auto kPrivate = pervma::MapFlags::private_ | pervma::MapFlags::anonymous;

// NOLINTBEGIN(modernize-use-std-print): as a reader with g++ 12 would write it.
void readme() {
  // [README.md 0]
  auto engine = pervma::Engine::create().value();
  auto space = engine->create_space().value();
  auto at = space
                ->map({.length = 1 << 20,
                       .prot = pervma::Prot::read | pervma::Prot::write,
                       .flags = pervma::MapFlags::private_ | pervma::MapFlags::anonymous})
                .value();
  space->handle_fault(at, pervma::Access::write);  // any thread, no map-wide lock
  if (auto vma = space->try_read_vma(at)) {        // pinned: nobody changes or removes it meanwhile
    std::printf("%#lx\n", vma->info().range.start.value);
  }
  std::fputs(space->to_maps().c_str(), stdout);
  // [end]
}
// NOLINTEND(modernize-use-std-print)

void address_space() {
  // [docs/reference/address-space.md 0]
  auto engine = pervma::Engine::create({.frames = pervma::PageCount{1 << 16}}).value();
  auto space = engine->create_space({.design = pervma::Design::refcount}).value();
  const auto at = space
                      ->map({.length = 16 * pervma::kPageSize,
                             .prot = pervma::Prot::read | pervma::Prot::write,
                             .flags = pervma::MapFlags::private_ | pervma::MapFlags::anonymous})
                      .value();
  std::array<std::byte, 5> hello{};
  space->store(at, hello);                          // faults as a program's store would
  auto child = engine->fork(*space).value();        // copy on write
  space->unmap(at, 4 * pervma::kPageSize).value();  // splits the VMA
  // [end]
  EXPECT_EQ(child->map_count(), 1u);
  EXPECT_EQ(space->find_vma(at), std::nullopt);
}

void pages() {
  const char packet[] = "hello";
  const size_t length = sizeof packet;
  // [docs/reference/pages.md 0]
  std::shared_ptr<pervma::PageStore> store =
      pervma::make_compressed_store(
          {.compression = pervma::Compression::zstd, .capacity = {1 << 20}, .memory = 1 << 30})
          .value();
  auto engine = pervma::Engine::create({.frames = {1 << 16}, .swap = std::move(store)}).value();
  // [end]
  auto space = engine->create_space().value();
  const auto at =
      space->map({.length = pervma::kPageSize, .prot = kReadWrite, .flags = kPrivate}).value();
  // [docs/reference/pages.md 1]
  std::array<pervma::PageBuffer, 1> page{engine->alloc_page().value()};
  std::memcpy(page[0].bytes().data(), packet, length);
  space->insert_pages(at, page).value();
  // [end]
  std::array<std::byte, sizeof packet> seen{};
  EXPECT_EQ(space->load(at, seen), pervma::FaultOutcome::resolved);
  EXPECT_EQ(std::memcmp(seen.data(), packet, length), 0);
}

int used = 0;
void use(int key) { used += key; }

void range_map() {
  // [docs/reference/range-map.md 0]
  struct Region {
    int key;
  };

  auto map = pervma::RangeMap<Region>::create().value();
  {
    auto writer = map.write().value();  // one section at a time
    writer.insert({{0x1000}, {0x3000}}, {7}).value();
    writer.insert({{0x3000}, {0x4000}}, {8}).value();
  }  // readers see both at once
  if (auto guard = map.find(pervma::Address{0x1800})) {
    use(guard->value().key);  // the range stays as it is until the guard ends
  }
  auto entry =
      map.find_fast(pervma::Address{0x3800});  // a copy of range and value; writes nothing shared
  // [end]
  EXPECT_EQ(used, 7);
  EXPECT_EQ(entry->value.key, 8);
}

std::span<const std::byte> page_of_the_snapshot(pervma::Address) {
  static const auto page = [] {
    std::array<std::byte, pervma::kPageSize> bytes;
    bytes.fill(std::byte{7});
    return bytes;
  }();
  return page;
}

void user_faults() {
  auto engine = pervma::Engine::create().value();
  auto space = engine->create_space().value();
  const uint64_t length = 16 * pervma::kPageSize;
  const auto start = space->map({.length = length, .prot = kReadWrite, .flags = kPrivate}).value();
  std::array<std::byte, 4> bytes{};
  // [docs/reference/user-faults.md 0]
  class Snapshot final : public pervma::UserFaultHandler {
   public:
    std::unique_ptr<pervma::UserFaults> faults;

    pervma::UserFaultAnswer fault(const pervma::UserFault& f, const std::stop_token&) override {
      faults->copy(f.address,
                   page_of_the_snapshot(f.address));  // the page comes; who else waits is woken
      return pervma::UserFaultAnswer::look_again;
    }
  };

  Snapshot snapshot;
  snapshot.faults = space->create_user_faults({.handler = &snapshot}).value();
  snapshot.faults->register_range(start, length, pervma::UserFaultModes::missing).value();
  space->load(start, bytes);  // asks the handler for the page
  // [end]
  EXPECT_EQ(bytes[3], std::byte{7});
}

// Without comments, includes and white space, which the formatter may arrange otherwise here.
std::string squeezed(const std::string& text) {
  std::string kept;
  for (size_t at = 0; at < text.size(); ++at) {
    const bool begins_line = at == 0 || text[at - 1] == '\n';
    if (text.compare(at, 2, "//") == 0 || (begins_line && text[at] == '#')) {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    if (text[at] != ' ' && text[at] != '\n') kept += text[at];
  }
  return kept;
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What is between the n-th `from` and the `to` behind it.
std::string between(const std::string& text, const std::string& from, const std::string& to,
                    int n) {
  size_t begin = 0;
  for (int i = 0; i <= n; ++i) {
    begin = text.find(from, begin);
    if (begin == std::string::npos) return "";
    begin += from.size();
  }
  return text.substr(begin, text.find(to, begin) - begin);
}

TEST(DocsExamples, run) {
  readme();
  address_space();
  pages();
  range_map();
  user_faults();
}

TEST(DocsExamples, are_the_ones_in_the_docs) {
  const std::string here = PERVMA_TEST_DATA;
  const std::string mine = contents(here + "/docs_examples_test.cpp");
  const std::pair<const char*, int> places[] = {
      {"README.md", 0},
      {"docs/reference/address-space.md", 0},
      {"docs/reference/pages.md", 0},
      {"docs/reference/pages.md", 1},
      {"docs/reference/range-map.md", 0},
      {"docs/reference/user-faults.md", 0},
  };
  for (const auto& [path, n] : places) {
    SCOPED_TRACE(path);
    const std::string doc = contents(here + "/../../" + path);
    const std::string mark = std::string("// [") + path + " " + std::to_string(n) + "]";
    const std::string code = squeezed(between(mine, mark, "// [end]", 0));
    EXPECT_FALSE(code.empty());
    EXPECT_EQ(code, squeezed(between(doc, "```cpp\n", "```", n)));
  }
}

}  // namespace
