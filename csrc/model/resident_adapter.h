// An adapter where its model computes: factors in the backend's memory, found by the place in the
// forward that they add to. Immutable; the memory goes with the last who uses it.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "lora/adapter.h"
#include "model/weights.h"

namespace realm {

// What an adapter adds to one product, as far as it does not depend on a request.
struct AdapterTerm {
  FactorView down, up;
  float scale = 1;
  Vector gain, shift;
  const float* host_gain = nullptr;  // as `gain`: [n] in host memory
};

class ResidentAdapter {
 public:
  // Uploads: the caller holds the backend's lock. Keeps no factor in host memory. Throws
  // kOutOfMemory.
  ResidentAdapter(const lora::Adapter& adapter, const lora::BaseLayout& base,
                  const std::vector<AdapterSite>& sites, Backend& backend);

  const lora::Adapter& adapter() const { return *adapter_; }
  const std::shared_ptr<const lora::Adapter>& shared_adapter() const { return adapter_; }
  uint64_t bytes() const { return bytes_; }

  // Asks for what term() will read, so that the terms of many adapters come from memory together.
  void expect(SiteId site) const;
  // Null where it adds nothing.
  const AdapterTerm* term(SiteId site, int64_t expert = 0) const;
  const AdapterTerm* embedding_term() const { return embedding_ ? &*embedding_ : nullptr; }
  // Weights that take the place of the base's.
  const Weight* saved(SiteId site) const;
  const Weight* saved_embedding() const { return saved_embedding_.get(); }
  bool has_saved() const { return !saved_.empty() || saved_embedding_; }
  // Whether any term has a gain, as DoRA's do.
  bool has_gains() const { return has_gains_; }

 private:
  class Memory;

  std::shared_ptr<const lora::Adapter> adapter_;
  std::unique_ptr<Buffer> memory_;
  // Ascending sites, then experts; with a site's first term, and one past the last site. A step of
  // many adapters asks for every one, from memory that is cold.
  using OfExpert = std::pair<int64_t, AdapterTerm>;
  std::vector<OfExpert> terms_;
  std::vector<uint32_t> first_of_site_;
  std::optional<AdapterTerm> embedding_;
  std::map<SiteId, std::unique_ptr<Weight>> saved_;
  std::unique_ptr<Weight> saved_embedding_;
  bool has_gains_ = false;
  uint64_t bytes_ = 0;
};

}  // namespace realm
