// The tokens that a request has had so far, counted for the penalties. Owned by one sequence, used
// by one thread. Speculation pushes a draft token before it judges the next position and pops it
// when the draft is refused.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace realm {

class TokenHistory {
 public:
  struct Seen {
    int32_t token;
    bool in_prompt;
    uint32_t n_output;  // times in the output; 0 with !in_prompt after every push was popped
  };

  TokenHistory() = default;
  explicit TokenHistory(std::span<const int32_t> prompt);

  // Counts a token of the output.
  void push(int32_t token);
  // Takes one push of `token` back. There must be one.
  void pop(int32_t token);

  // Distinct tokens by ascending id.
  std::span<const Seen> seen() const { return seen_; }

 private:
  std::vector<Seen> seen_;
};

}  // namespace realm
