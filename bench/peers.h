// peers.h: what people use today instead: a map of ranges under one reader/writer lock.
#pragma once

#include <vector>

#include "bench/subject.h"

namespace pervma::bench {

// Those that were compiled in: always std::map + std::shared_mutex; others where CMake found their
// libraries.
std::vector<SubjectMaker> peer_makers();

}  // namespace pervma::bench
