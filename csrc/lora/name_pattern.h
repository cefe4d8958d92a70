// The regular expressions of an adapter's configuration (keys of rank_pattern and alpha_pattern,
// target_modules as one text), matched in time proportional to pattern times name: a stranger's
// pattern cannot make it explode. The part of Python's syntax that names of modules need: literals,
// `.`, `\.`, `\d`, `\w`, `[a-z0-9]`, groups, `|`, `*`, `+`, `?`, `^`, `$`. Anything else is refused
// by name. Immutable.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace realm::lora {

class NamePattern {
 public:
  // Throws kFormat for syntax that is not among the above.
  explicit NamePattern(std::string_view text);

  const std::string& text() const { return text_; }
  // The whole of `name`.
  bool matches(std::string_view name) const;
  // The whole of `name`, or what follows one of its dots: how PEFT reads pattern keys.
  bool matches_module(std::string_view name) const;

 private:
  friend class PatternParser;

  // A state consumes a byte of its set and goes to `next`, or forks without consuming.
  enum class Kind : uint8_t { kBytes, kFork, kEnd };
  struct State {
    Kind kind;
    uint32_t set = 0;  // of sets_, for kBytes
    uint32_t next = 0, other = 0;
  };
  using ByteSet = std::vector<bool>;  // 256 of them

  void add(std::vector<uint32_t>& list, std::vector<bool>& seen, uint32_t state) const;

  std::string text_;
  std::vector<State> states_;
  std::vector<ByteSet> sets_;
  uint32_t start_ = 0;
};

}  // namespace realm::lora
