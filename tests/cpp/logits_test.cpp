// Logits on their way to whoever samples: none that is no number passes, wherever it stands.
#include "model/logits.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/registry.h"
#include "cpp/harness.h"

using namespace realm;

TEST(a_logit_that_is_no_number_is_refused_wherever_it_stands) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const size_t n : {1, 15, 16, 17, 100}) {
    std::vector<float> logits(n, std::numeric_limits<float>::lowest());
    logits.front() = std::numeric_limits<float>::denorm_min();
    require_finite(logits);
    for (size_t at = 0; at < n; ++at) {
      for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> broken = logits;
        broken[at] = bad;
        const auto message = EXPECT_ERROR(kFormat, { require_finite(broken); });
        EXPECT(message.find(bad > 0 ? "inf" : bad < 0 ? "-inf" : "nan") != std::string::npos);
      }
    }
  }
  require_finite({});
}

TEST(what_threads_fetch_together_is_what_lies_there) {
  const auto backend = make_cpu_backend(3);
  for (const size_t n : {size_t{1}, size_t{65536}, size_t{300001}}) {
    std::vector<unsigned char> from(n), to(n + 1, 0xee);
    for (size_t i = 0; i < n; ++i) from[i] = static_cast<unsigned char>(i * 2654435761u >> 13);
    backend->download(from.data(), to.data(), n);
    EXPECT(std::equal(from.begin(), from.end(), to.begin()));
    EXPECT_EQ(int{to.back()}, 0xee);
  }
}
