// The C functions that end waits.
#include <new>

#include "capi/c_common.h"
#include "pervma/c.h"

extern "C" {

int pervma_stop_create(pervma_stop** stop) {
  if (stop == nullptr) return EINVAL;
  return pervma::capi::guarded([&] {
    *stop = new pervma_stop;
    return 0;
  });
}

void pervma_stop_use(pervma_stop* stop) { pervma::capi::t_stop = stop; }

void pervma_stop_request(pervma_stop* stop) {
  if (stop != nullptr) stop->source.request_stop();
}

void pervma_stop_destroy(pervma_stop* stop) { delete stop; }

}  // extern "C"
