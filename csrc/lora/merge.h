// The weights of a base with adapters in them: W + the sum of the changes, each times its scale,
// computed in f32 from the base's decoded values. Knows nothing of files and formats; a Merge never
// changes after it is made and may be used by many threads.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/adapter.h"
#include "lora/base_layout.h"

namespace realm::lora {

// Throws kAdapter for compositions that mean nothing: two adapters that save the same module, one
// that saves a module at a scale other than 1, DoRA over a module that another adapter saves.
void check_composition(const BaseLayout& base, const ScaledAdapters& adapters);

class Merge {
 public:
  // Throws kAdapter as check_composition does.
  Merge(std::shared_ptr<const BaseLayout> base, ScaledAdapters adapters);

  const BaseLayout& base() const { return *base_; }
  // Whether the values of the tensor change; its name is without ".weight".
  bool changes(std::string_view name) const;
  // The base ties its ends together and an adapter changes one of them alone: the merged model
  // needs a head of its own.
  bool unties() const;

  // Changes the decoded values of some rows of a tensor in place; a bank's rows follow one another.
  // Throws kAdapter if a value becomes infinite or NaN.
  void apply(std::string_view name, int64_t first_row, int64_t n_rows, float* rows) const;

  // The whole new bias of a tensor; none when it does not change. Throws as apply does.
  std::optional<std::vector<float>> bias(std::string_view name) const;
  // Names of the tensors whose biases change.
  std::vector<std::string> changed_biases() const;

 private:
  struct Change {
    const Delta* delta = nullptr;
    const Saved* saved = nullptr;
    float scale = 1;
    int64_t expert = 0;
  };

  void apply_to_expert(const BaseTensor& tensor, const std::vector<Change>& changes, int64_t expert,
                       int64_t first_row, int64_t n_rows, float* rows) const;

  const std::shared_ptr<const BaseLayout> base_;
  const ScaledAdapters adapters_;
  std::map<uint32_t, std::vector<Change>> changes_;  // by tensor, in the adapters' order
};

}  // namespace realm::lora
