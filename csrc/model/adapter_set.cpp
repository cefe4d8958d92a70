#include "model/adapter_set.h"

#include "lora/merge.h"

namespace realm {

Sha256Digest AdapterSet::identity_of(const std::vector<Member>& members) {
  Sha256 hash;
  hash.update("adapters");
  for (const Member& member : members) {
    hash.update(member.adapter->adapter().identity());
    hash.update_number(member.scale);
  }
  return hash.finish();
}

AdapterSet::AdapterSet(std::vector<Member> members, const lora::BaseLayout& base, uint64_t serial)
    : members_(std::move(members)), identity_(identity_of(members_)), serial_(serial) {
  lora::ScaledAdapters adapters;
  for (const Member& member : members_) {
    adapters.emplace_back(member.adapter->shared_adapter(), member.scale);
    replaces_weights_ = replaces_weights_ || member.adapter->has_saved();
    has_gains_ = has_gains_ || member.adapter->has_gains();
  }
  lora::check_composition(base, adapters);
}

bool AdapterSet::needs_upload() const {
  return has_gains_ && !is_one_as_it_is();
}

void AdapterSet::upload(const lora::BaseLayout& base, const std::vector<AdapterSite>& sites,
                        Backend& backend) {
  std::map<std::pair<SiteId, int64_t>, std::vector<float>> factors;
  for (const Member& member : members_) {
    for (SiteId site = 0; site < static_cast<SiteId>(sites.size()); ++site) {
      const auto tensor = base.find(sites[static_cast<size_t>(site)].tensor);
      const int64_t n_matrices = tensor ? base.tensors()[*tensor].n_matrices() : 0;
      for (int64_t expert = 0; expert < n_matrices; ++expert) {
        const AdapterTerm* term = member.adapter->term(site, expert);
        if (!term || !term->host_gain) continue;
        auto& factor = factors[{site, expert}];
        factor.resize(static_cast<size_t>(term->gain.n), 1.0f);
        for (size_t i = 0; i < factor.size(); ++i)
          factor[i] += member.scale * (term->host_gain[i] - 1);
      }
    }
  }
  for (const auto& [place, factor] : factors) {
    auto buffer = backend.allocate(factor.size() * sizeof(float));
    backend.upload(factor.data(), buffer->data(), factor.size() * sizeof(float));
    rescale_.emplace(place, std::move(buffer));
  }
}

Vector AdapterSet::rescale(SiteId site, int64_t expert) const {
  if (!has_gains_) return {};
  if (is_one_as_it_is()) {
    const AdapterTerm* term = members_.front().adapter->term(site, expert);
    return term ? term->gain : Vector{};
  }
  const auto found = rescale_.find({site, expert});
  if (found == rescale_.end()) return {};
  return {reinterpret_cast<const float*>(found->second->data()),
          static_cast<int64_t>(found->second->bytes() / sizeof(float))};
}

}  // namespace realm
