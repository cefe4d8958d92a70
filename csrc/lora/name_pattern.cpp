#include "lora/name_pattern.h"

#include "base/error.h"

namespace realm::lora {

namespace {

constexpr size_t kMaxStates = 4096;
constexpr int kMaxDepth = 32;

}  // namespace

// Recursive descent into a Thompson automaton, built from the end: each piece is given the state
// that follows it and returns its own first state.
class PatternParser {
 public:
  explicit PatternParser(NamePattern& pattern) : pattern_(pattern), text_(pattern.text_) {}

  uint32_t parse() {
    const Node whole = alternatives(0);
    if (at_ < text_.size()) refuse("an unmatched ')'");
    return compile(whole, add({NamePattern::Kind::kEnd}));
  }

 private:
  struct Node {
    enum class Kind { kBytes, kSequence, kAlternatives, kRepeat } kind = Kind::kSequence;
    uint32_t set = 0;
    bool may_skip = false, may_repeat = false;
    std::vector<Node> parts;
  };

  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::kFormat, "pattern ", quoted(text_), " has ", what,
         ", which this version does not read");
  }

  bool more() const { return at_ < text_.size(); }

  Node alternatives(int depth) {
    if (depth > kMaxDepth) refuse("groups nested too deeply");
    Node node{Node::Kind::kAlternatives, 0, false, false, {}};
    node.parts.push_back(sequence(depth));
    while (more() && text_[at_] == '|') {
      ++at_;
      node.parts.push_back(sequence(depth));
    }
    return node;
  }

  Node sequence(int depth) {
    Node node;
    while (more() && text_[at_] != '|' && text_[at_] != ')') {
      if (text_[at_] == '^' || text_[at_] == '$') {
        anchor();
        continue;
      }
      Node piece = atom(depth);
      node.parts.push_back(repeated(std::move(piece)));
    }
    return node;
  }

  // Names are matched whole, so anchors at the ends say nothing new.
  void anchor() {
    const bool at_end = text_[at_] == '^' ? at_ == 0 : at_ + 1 == text_.size();
    if (!at_end) refuse("an anchor in its middle");
    ++at_;
  }

  Node repeated(Node piece) {
    while (more() && (text_[at_] == '*' || text_[at_] == '+' || text_[at_] == '?')) {
      const char c = text_[at_++];
      Node outer{Node::Kind::kRepeat, 0, c != '+', c != '?', {}};
      outer.parts.push_back(std::move(piece));
      piece = std::move(outer);
    }
    if (more() && text_[at_] == '{') refuse("a counted repetition");
    return piece;
  }

  Node atom(int depth) {
    const char c = text_[at_++];
    if (c == '(') return group(depth);
    NamePattern::ByteSet set(256, c == '.');
    if (c == '[') {
      read_class(set);
    } else if (c == '\\') {
      read_escape(set);
    } else if (c == '*' || c == '+' || c == '?') {
      refuse("a repetition of nothing");
    } else if (c != '.') {
      set[static_cast<unsigned char>(c)] = true;
    }
    pattern_.sets_.push_back(std::move(set));
    return {Node::Kind::kBytes, static_cast<uint32_t>(pattern_.sets_.size() - 1), false, false, {}};
  }

  Node group(int depth) {
    if (text_.substr(at_).starts_with("?:")) {
      at_ += 2;
    } else if (more() && text_[at_] == '?') {
      refuse("a special group '(?'");
    }
    Node node = alternatives(depth + 1);
    if (!more()) refuse("an unmatched '('");
    ++at_;
    return node;
  }

  void read_escape(NamePattern::ByteSet& set) {
    if (!more()) refuse("a '\\' at its end");
    const char c = text_[at_++];
    const bool is_letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c == 'd' || c == 'w') {
      add_range(set, '0', '9');
      if (c == 'd') return;
      add_range(set, 'a', 'z');
      add_range(set, 'A', 'Z');
      set['_'] = true;
    } else if (is_letter) {
      refuse(concat("the escape '\\", c, "'"));
    } else {
      set[static_cast<unsigned char>(c)] = true;
    }
  }

  void read_class(NamePattern::ByteSet& set) {
    const bool negated = more() && text_[at_] == '^';
    if (negated) ++at_;
    while (more() && text_[at_] != ']') {
      const char first = text_[at_++];
      if (first == '\\') {
        read_escape(set);
      } else if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        add_range(set, first, text_[at_ + 1]);
        at_ += 2;
      } else {
        set[static_cast<unsigned char>(first)] = true;
      }
    }
    if (!more()) refuse("an unmatched '['");
    ++at_;
    if (negated) set.flip();
  }

  void add_range(NamePattern::ByteSet& set, char first, char last) {
    for (int c = static_cast<unsigned char>(first); c <= static_cast<unsigned char>(last); ++c) {
      set[static_cast<size_t>(c)] = true;
    }
  }

  uint32_t add(NamePattern::State state) {
    if (pattern_.states_.size() >= kMaxStates) refuse("more parts than fit");
    pattern_.states_.push_back(state);
    return static_cast<uint32_t>(pattern_.states_.size() - 1);
  }

  uint32_t compile(const Node& node, uint32_t next) {
    using Kind = NamePattern::Kind;
    switch (node.kind) {
      case Node::Kind::kBytes:
        return add({Kind::kBytes, node.set, next, 0});
      case Node::Kind::kSequence:
        for (auto part = node.parts.rbegin(); part != node.parts.rend(); ++part) {
          next = compile(*part, next);
        }
        return next;
      case Node::Kind::kAlternatives: {
        uint32_t entry = compile(node.parts[0], next);
        for (size_t i = 1; i < node.parts.size(); ++i) {
          const uint32_t other = compile(node.parts[i], next);
          entry = add({Kind::kFork, 0, entry, other});
        }
        return entry;
      }
      case Node::Kind::kRepeat: {
        const uint32_t fork = add({Kind::kFork, 0, next, next});
        const uint32_t entry = compile(node.parts[0], node.may_repeat ? fork : next);
        pattern_.states_[fork].other = entry;
        return node.may_skip ? fork : entry;
      }
    }
    return next;
  }

  NamePattern& pattern_;
  const std::string_view text_;
  size_t at_ = 0;
};

NamePattern::NamePattern(std::string_view text) : text_(text) {
  start_ = PatternParser(*this).parse();
}

void NamePattern::add(std::vector<uint32_t>& list, std::vector<bool>& seen, uint32_t state) const {
  std::vector<uint32_t> open{state};
  while (!open.empty()) {
    const uint32_t one = open.back();
    open.pop_back();
    if (seen[one]) continue;
    seen[one] = true;
    if (states_[one].kind == Kind::kFork) {
      open.push_back(states_[one].other);
      open.push_back(states_[one].next);
    } else {
      list.push_back(one);
    }
  }
}

bool NamePattern::matches(std::string_view name) const {
  std::vector<uint32_t> here, after;
  std::vector<bool> seen(states_.size());
  add(here, seen, start_);
  for (const char c : name) {
    after.clear();
    seen.assign(states_.size(), false);
    for (const uint32_t i : here) {
      const State& state = states_[i];
      const bool steps =
          state.kind == Kind::kBytes && sets_[state.set][static_cast<unsigned char>(c)];
      if (steps) add(after, seen, state.next);
    }
    std::swap(here, after);
  }
  for (const uint32_t i : here) {
    if (states_[i].kind == Kind::kEnd) return true;
  }
  return false;
}

bool NamePattern::matches_module(std::string_view name) const {
  if (matches(name)) return true;
  if (text_.starts_with('^')) return false;
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    if (matches(name.substr(dot + 1))) return true;
  }
  return false;
}

}  // namespace realm::lora
