#include "engine/token_window.h"

#include <algorithm>

namespace realm {

void TokenWindow::advance(Time now) {
  const int64_t second = std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
  for (int64_t s = std::max(newest_ + 1, second - kSlots + 1); s <= second; ++s) {
    ended_ -= slot(s);
    slot(s) = 0;
  }
  newest_ = std::max(newest_, second);
}

void TokenWindow::end(int64_t n_tokens, int64_t n_used, Time now) {
  advance(now);
  live_ -= n_tokens;
  slot(newest_) += n_used;
  ended_ += n_used;
}

int64_t TokenWindow::count(Time now) {
  advance(now);
  return live_ + ended_;
}

}  // namespace realm
