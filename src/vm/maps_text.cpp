#include "vm/maps_text.h"

#include <fmt/format.h>

#include <iterator>

namespace pervma {

std::string maps_line(const VmaInfo& v) {
  constexpr size_t kNameColumn = 73;
  const VmaFlags f = v.flags;
  std::string line = fmt::format(
      "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ", v.range.start.value, v.range.end.value,
      f.has(VmaFlag::read) ? 'r' : '-', f.has(VmaFlag::write) ? 'w' : '-',
      f.has(VmaFlag::exec) ? 'x' : '-', f.has(VmaFlag::may_share) ? 's' : 'p',
      v.has_file ? v.page_offset << kPageShift : 0, v.device_major, v.device_minor, v.inode);
  if (!v.name.empty()) {
    if (line.size() < kNameColumn) line.resize(kNameColumn, ' ');
    line += v.name;
  }
  line += '\n';
  return line;
}

}  // namespace pervma
