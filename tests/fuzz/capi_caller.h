// One thread's calls of the C interface: each a function of realm.h with arguments that are mostly
// right, and how it came out.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fuzz/capi_world.h"

namespace realm::test {

struct Files {
  std::string model, adapter;                      // paths
  std::string model_bytes, adapter_bytes, config;  // contents
};

// Of one function.
struct Count {
  std::atomic<int> served{0}, refused{0};
};
using Counts = std::map<std::string, Count>;

// Where violations are counted and told.
class Verdict {
 public:
  void violated(const char* function, const char* what);
  int count() const { return count_.load(); }

 private:
  std::atomic<int> count_{0};
};

class Caller {
 public:
  Caller(const Files& files, Handles& handles, Verdict& verdict, uint64_t seed);

  // The functions that it calls, with nothing counted.
  Counts no_counts() const;
  void run(int n_calls, Counts& counts);

 private:
  using H = Handles;
  // Of the small llama in tests/golden.
  static constexpr size_t kWidth = 64, kVocab = 512;

  template <class T>
  T* drawn(H::Kind kind) {
    return static_cast<T*>(handles_.draw(kind, dice_));
  }

  // A call that gives out a handle.
  template <class T, class Call>
  int making(H::Kind kind, Call call) {
    T* const before = reinterpret_cast<T*>(static_cast<uintptr_t>(0xbad));
    T* made = before;
    const bool is_wanted = !dice_.once_in(40);
    const int status = call(is_wanted ? &made : nullptr);
    if (status == REALM_OK) {
      handles_.add(kind, made);
    } else if (made != before) {
      verdict_.violated(name_, "an output was touched");
    }
    return status;
  }

  // A call with an output that must stay as it is if it is refused.
  template <class T, class Call>
  int giving(Call call) {
    T out, before;
    std::memset(&out, 0x5a, sizeof out);
    std::memcpy(&before, &out, sizeof out);
    const int status = call(dice_.once_in(30) ? nullptr : &out);
    if (status != REALM_OK && std::memcmp(&out, &before, sizeof out) != 0) {
      verdict_.violated(name_, "an output was touched");
    }
    return status;
  }

  // A call that writes a text into a buffer of its own size.
  template <class Call>
  int texting(Call call) {
    const size_t capacity = dice_.once_in(3) ? 0 : dice_.below(4096);
    Array<char> buffer(dice_, std::vector<char>(capacity, 'z'));
    return giving<size_t>([&](size_t* length) { return call(buffer.data, buffer.count, length); });
  }

  template <class Struct, class Call>
  int reporting(Call call) {
    Sized<Struct> out(dice_);
    return call(out.argument());
  }

  Text id() {
    static const char* const kIds[] = {"tiny", "tiny",  "tiny", "other", "style",
                                       "main", "guest", "x",    "",      "a\nb"};
    return Text(dice_, dice_.one_of(kIds));
  }
  Text id(const char* mostly) { return dice_.once_in(8) ? id() : Text(dice_, mostly); }
  Text tenant_id() { return id(dice_.once_in(2) ? "main" : "guest"); }

  Array<int32_t> tokens() {
    std::vector<int32_t> values(dice_.once_in(12) ? dice_.below(600) : dice_.below(8));
    for (auto& value : values) {
      value = dice_.once_in(40) ? static_cast<int32_t>(dice_.edge_number())
                                : static_cast<int32_t>(dice_.below(64));
    }
    return Array<int32_t>(dice_, std::move(values));
  }

  Array<float> floats(size_t n) {
    std::vector<float> values(n);
    for (auto& value : values) {
      value = dice_.once_in(4000) ? static_cast<float>(dice_.edge_real())
                                  : static_cast<float>(dice_.below(100)) * 0.01f;
    }
    return Array<float>(dice_, std::move(values));
  }

  template <class T>
  void spoil(T& number) {
    if (dice_.once_in(60)) number = static_cast<T>(dice_.edge_number());
  }
  void spoil(double& number) {
    if (dice_.once_in(60)) number = dice_.edge_real();
  }

  // Options of a request, with all that they point to.
  struct Options {
    Options(Caller& from, Dice& dice)
        : options(dice, realm_request_options_init),
          params(dice, realm_sampling_params_init),
          guesses(dice, realm_speculative_config_init),
          stop(dice, dice.once_in(4) ? "stop" : ""),
          stop_ids(from.tokens()),
          adapter(from.id("style")) {}

    Sized<realm_request_options> options;
    Sized<realm_sampling_params> params;
    Sized<realm_speculative_config> guesses;
    Text stop;
    Array<int32_t> stop_ids;
    Text adapter;
    realm_text stop_text{};
    realm_scaled_adapter scaled{};
    realm_logit_bias bias[2]{};
  };

  void mutate(realm_sampling_params& params);
  void mutate(realm_speculative_config& guesses);
  void mutate(Options& options);

  template <class Submit>
  int submitting(Submit submit) {
    auto* tenant = drawn<realm_tenant>(H::kTenant);
    const auto prompt = tokens();
    Options options(*this, dice_);
    mutate(options);
    return making<realm_request>(H::kRequest, [&](realm_request** out) {
      return submit(tenant, prompt.data, prompt.count, options.options.argument(), out);
    });
  }

  template <class T>
  int freeing(H::Kind kind, int (*free_it)(T*)) {
    T* handle = drawn<T>(kind);
    const int status = free_it(handle);
    if (status == REALM_OK && handle != nullptr) handles_.note_freed(handle);
    return status;
  }

  void restock();
  void free_surplus();
  void list_calls();
  void list_runtime_calls();
  void list_model_calls();
  void list_adapter_calls();
  void list_tenant_calls();
  void list_request_calls();
  void list_session_calls();
  void list_file_calls();

  template <class Call>
  void list(const char* name, int times, Call call) {
    for (int i = 0; i < times; ++i) calls_.emplace_back(name, call);
  }

  const Files& files_;
  Handles& handles_;
  Verdict& verdict_;
  Dice dice_;
  std::vector<std::pair<const char*, std::function<int()>>> calls_;
  const char* name_ = "";
};

}  // namespace realm::test
