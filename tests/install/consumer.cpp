#include <cstdio>

#include "pervma/address.h"
#include "pervma/error.h"
#include "pervma/version.h"

int main() {
  const auto range = pervma::Range::from(pervma::Address{0x1000}, 0x2000);
  if (!range || range->pages().value != 2) return 1;
  if (pervma::error_name(pervma::Error::nomem) != "ENOMEM") return 2;
  if (pervma::version() != pervma::kVersion) return 3;
  std::printf("pervma %s\n", pervma::version().data());
}
