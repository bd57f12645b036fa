#include "pervma/version.h"

namespace pervma {

std::string_view version() noexcept { return kVersion; }

}  // namespace pervma
