// The adapters of one request: which, in which order, each at its scale. Requests with the same
// ones share one set, and their rows are computed together. Once it is uploaded, immutable; share
// it between threads freely.
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

  // Throws kAdapter for a composition that means nothing. `serial` is the backend's next.
  AdapterSet(std::vector<Member> members, const lora::BaseLayout& base, uint64_t serial);

  // Most sets have all they need where their adapters lie: they are made while others compute.
  bool needs_upload() const;
  // What the members' gains come to at these scales. The caller holds the backend's lock. Throws
  // kOutOfMemory.
  void upload(const lora::BaseLayout& base, const std::vector<AdapterSite>& sites,
              Backend& backend);

  const std::vector<Member>& members() const { return members_; }
  const Sha256Digest& identity() const { return identity_; }
  // Of this set alone: another one with equal adapters, made later, has another.
  uint64_t serial() const { return serial_; }
  // Whether some weights of the base are not used at all: a member has its own in their place.
  bool replaces_weights() const { return replaces_weights_; }

  // What DoRA multiplies the base's outputs with: 1 + the sum of scale * (gain - 1), which for one
  // adapter at scale 1 is its gain. Null where no member is DoRA.
  Vector rescale(SiteId site, int64_t expert = 0) const;

 private:
  bool is_one_as_it_is() const { return members_.size() == 1 && members_.front().scale == 1; }

  std::vector<Member> members_;
  Sha256Digest identity_;
  uint64_t serial_;
  bool replaces_weights_ = false, has_gains_ = false;
  std::map<std::pair<SiteId, int64_t>, std::unique_ptr<Buffer>> rescale_;
};

}  // namespace realm
