#include <pervma/pervma.h>

#include <array>
#include <cstdio>

int main() {
  using namespace pervma;
  auto engine = Engine::create({.frames = PageCount{1024}}).value();
  auto space = engine->create_space().value();
  const auto flags = MapFlags::private_ | MapFlags::anonymous;
  const Address at =
      space->map({.length = 8192, .prot = Prot::read | Prot::write, .flags = flags}).value();
  const std::array<std::byte, 2> sent{std::byte{1}, std::byte{2}};
  std::array<std::byte, 2> got{};
  if (space->store(at + 4095, sent) != FaultOutcome::resolved) return 1;
  if (space->load(at + 4095, got) != FaultOutcome::resolved || got != sent) return 2;
  if (!space->try_read_vma(at) || version() != kVersion) return 3;
  auto map = RangeMap<int>::create().value();
  map.write()->insert({{1}, {9}}, 7).value();
  if (map.find(Address{5})->value() != 7) return 4;
  if (map.find_fast(Address{5})->value != 7) return 5;
  std::printf("pervma %s\n", version().data());
}
