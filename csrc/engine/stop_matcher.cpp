#include "engine/stop_matcher.h"

#include <algorithm>

#include "base/error.h"

namespace realm {

namespace {

std::vector<size_t> borders_of(std::string_view text) {
  std::vector<size_t> borders(text.size(), 0);
  size_t border = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    while (border > 0 && text[i] != text[border]) border = borders[border - 1];
    if (text[i] == text[border]) ++border;
    borders[i] = border;
  }
  return borders;
}

}  // namespace

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
  patterns_.reserve(stops.size());
  for (const std::string& stop : stops) {
    REALM_CHECK(!stop.empty(), "an empty stop string would end every text at once");
    patterns_.push_back({stop, borders_of(stop), 0});
  }
}

void StopMatcher::advance(Pattern& pattern, char byte) {
  size_t& n = pattern.n_matched;
  while (n > 0 && pattern.text[n] != byte) n = pattern.fallback[n - 1];
  if (pattern.text[n] == byte) ++n;
}

size_t StopMatcher::longest_partial() const {
  size_t longest = 0;
  for (const Pattern& pattern : patterns_) longest = std::max(longest, pattern.n_matched);
  return longest;
}

std::optional<size_t> StopMatcher::longest_complete() const {
  std::optional<size_t> longest;
  for (size_t i = 0; i < patterns_.size(); ++i) {
    const Pattern& pattern = patterns_[i];
    if (pattern.n_matched < pattern.text.size()) continue;
    if (!longest || pattern.text.size() > patterns_[*longest].text.size()) longest = i;
  }
  return longest;
}

bool StopMatcher::push(std::string_view piece, std::string& out) {
  if (matched_) return true;
  for (const char byte : piece) {
    held_ += byte;
    for (Pattern& pattern : patterns_) advance(pattern, byte);
    matched_ = longest_complete();
    if (!matched_) continue;
    out.append(held_, 0, held_.size() - patterns_[*matched_].text.size());
    held_.clear();
    return true;
  }
  const size_t certain = held_.size() - longest_partial();
  out.append(held_, 0, certain);
  held_.erase(0, certain);
  return false;
}

void StopMatcher::finish(std::string& out) {
  out += held_;
  held_.clear();
}

}  // namespace realm
