// The adapters of one request: which, in which order, each at its scale. Requests with the same
// ones share one set, and their rows are computed together. Immutable; share it between threads
// freely.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "model/resident_adapter.h"

namespace realm {

class AdapterSet {
 public:
  struct Member {
    std::shared_ptr<const ResidentAdapter> adapter;
    float scale;
  };

  // Of what the adapters contain and their scales, in order: the part of a KV key that says which
  // adapters the keys and values were computed with.
  static Sha256Digest identity_of(const std::vector<Member>& members);

  // The caller holds the backend's lock. Throws kAdapter for a composition that means nothing.
  AdapterSet(std::vector<Member> members, const lora::BaseLayout& base,
             const std::vector<AdapterSite>& sites, Backend& backend);

  const std::vector<Member>& members() const { return members_; }
  const Sha256Digest& identity() const { return identity_; }
  // Of this set alone: another one with equal adapters, made later, has another.
  uint64_t serial() const { return serial_; }
  // Whether some weights of the base are not used at all: a member has its own in their place.
  bool replaces_weights() const { return replaces_weights_; }

  // What DoRA multiplies the base's outputs with: 1 + the sum of scale * (gain - 1). Null where no
  // member is DoRA.
  Vector rescale(SiteId site, int64_t expert = 0) const;

 private:
  std::vector<Member> members_;
  Sha256Digest identity_;
  uint64_t serial_;
  bool replaces_weights_ = false;
  std::map<std::pair<SiteId, int64_t>, std::unique_ptr<Buffer>> rescale_;
};

}  // namespace realm
