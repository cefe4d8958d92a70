#include "base/counter_rng.h"

#include <random>

namespace realm {

uint64_t fresh_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace realm
