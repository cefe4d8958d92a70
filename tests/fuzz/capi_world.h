// What the mutants of the C interface are drawn from: dice, values at the edges, texts and arrays
// in memory of exactly their size, and handles that live, have lived, or never did.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <realm/realm.h>

namespace realm::test {

// Deterministic.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}

  uint64_t next();
  // From 0 to n - 1.
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }
  bool once_in(size_t n) { return below(n) == 0; }
  template <class T, size_t N>
  T one_of(const T (&values)[N]) {
    return values[below(N)];
  }

  int64_t edge_number();
  double edge_real();

 private:
  uint64_t state_;
};

// `count` values at an address with nothing behind them; perhaps NULL, perhaps with a count that is
// a lie where NULL makes lies harmless.
template <class T>
class Array {
 public:
  Array(Dice& dice, std::vector<T> values) : memory_(new T[values.size()]), count(values.size()) {
    std::copy(values.begin(), values.end(), memory_.get());
    data = memory_.get();
    if (!dice.once_in(24)) return;
    data = nullptr;
    if (dice.once_in(2)) count = 0;
    if (dice.once_in(3)) count = SIZE_MAX;
  }

 private:
  std::unique_ptr<T[]> memory_;

 public:
  T* data;
  size_t count;
};

struct Text : Array<char> {
  Text(Dice& dice, const std::string& text) : Array(dice, {text.begin(), text.end()}) {}
};

// A struct in memory of the size that it says, mostly the right one.
template <class Struct>
class Sized {
 public:
  explicit Sized(Dice& dice, int (*init)(Struct*, size_t) = nullptr) {
    static constexpr size_t kSizes[] = {0, 1, sizeof(size_t), sizeof(Struct) - 8, 4097, SIZE_MAX};
    const size_t tail = dice.once_in(12) ? 8 * dice.below(6) : 0;
    memory_.resize((sizeof(Struct) + tail) / 8);
    if (init != nullptr) init(get(), sizeof(Struct) + tail);
    if (tail > 0 && dice.once_in(2)) memory_.back() = 1;
    get()->struct_size = dice.once_in(24) ? dice.one_of(kSizes) : sizeof(Struct) + tail;
    is_null_ = dice.once_in(40);
  }

  Struct* get() { return reinterpret_cast<Struct*>(memory_.data()); }
  Struct* operator->() { return get(); }
  // What is passed.
  Struct* argument() { return is_null_ ? nullptr : get(); }

 private:
  std::vector<uint64_t> memory_;
  bool is_null_ = false;
};

// Handles of all kinds, shared by the threads of a run.
class Handles {
 public:
  enum Kind : size_t { kRuntime, kTenant, kRequest, kSession, kGguf, kKinds };

  void add(Kind kind, const void* handle);
  // Mostly a live one of the kind.
  void* draw(Kind kind, Dice& dice);
  // One that has lived longest, if there are more than a few; it is still to be freed.
  void* take_surplus(Kind kind);
  // All that live, oldest first, to be freed.
  std::vector<void*> take_all(Kind kind);
  void note_freed(const void* handle);
  size_t count(Kind kind);

 private:
  static constexpr size_t kMostLive[kKinds] = {3, 5, 12, 4, 4};

  std::mutex mutex_;
  std::vector<void*> live_[kKinds];
  std::vector<void*> dead_;
};

}  // namespace realm::test
