// maps_text.h: one line of /proc/PID/maps.
#pragma once

#include <string>

#include "pervma/vma_info.h"

namespace pervma {

// "START-END rwxp OFFSET MAJ:MIN INODE       NAME\n", as Linux formats it. Anonymous memory shows
// offset 0.
std::string maps_line(const VmaInfo&);

}  // namespace pervma
