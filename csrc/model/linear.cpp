#include "model/linear.h"

#include <algorithm>

#include "model/adapter_set.h"

namespace realm {

namespace {

Matrix rows_of(Matrix matrix, int64_t first, int64_t n) {
  return {matrix.data + first * matrix.cols, n, matrix.cols};
}

bool replaces(const Projection& one, const AdapterSegment& segment) {
  if (!segment.set->replaces_weights()) return false;
  return std::ranges::any_of(segment.set->members(), [&](const AdapterSet::Member& member) {
    return member.adapter->saved(one.site) != nullptr;
  });
}

// Rows whose adapters save the whole weight are multiplied with that one instead.
void replace_saved(Backend& backend, const Projection& one, const AdapterSegment& segment,
                   Matrix in) {
  for (const auto& [adapter, scale] : segment.set->members()) {
    const Weight* saved = adapter->saved(one.site);
    if (!saved) continue;
    for_each_run(segment.rows, [&](int64_t first, int64_t n) {
      const Product product{*saved, one.bias, rows_of(one.out, first, n)};
      backend.linear({&product, 1}, rows_of(in, first, n));
    });
  }
}

LoraProduct product_of(const AdapterTerm& term, float scale, const AdapterSegment& segment,
                       Matrix out) {
  LoraProduct product;
  product.down = term.down;
  product.up = term.up;
  product.scale = scale * term.scale;
  product.gain = term.gain;
  product.shift = term.shift;
  product.shift_scale = scale;
  product.rows = segment.rows;
  product.out = out;
  return product;
}

// In the order in which they are to be added: what DoRA does to the base's outputs comes first.
void collect(const Projection& one, const AdapterSegment& segment,
             std::vector<LoraProduct>& products) {
  if (const Vector rescale = segment.set->rescale(one.site); rescale.data) {
    LoraProduct& product = products.emplace_back();
    product.rescale = rescale;
    product.bias = one.bias;
    product.rows = segment.rows;
    product.out = one.out;
  }
  for (const auto& [adapter, scale] : segment.set->members()) {
    const AdapterTerm* term = adapter->term(one.site);
    if (term) products.push_back(product_of(*term, scale, segment, one.out));
  }
}

}  // namespace

void project(Backend& backend, std::initializer_list<Projection> group, Matrix in,
             std::span<const AdapterSegment> adapters) {
  std::vector<Product> products;
  products.reserve(group.size());
  for (const Projection& one : group) products.push_back({one.weight, one.bias, one.out});
  // Between two groups weights go through the caches, and terms leave them.
  for (const AdapterSegment& segment : adapters) {
    for (const auto& [adapter, scale] : segment.set->members()) {
      for (const Projection& one : group) adapter->expect(one.site);
    }
  }
  std::vector<LoraProduct> additions;
  additions.reserve(group.size() * adapters.size());
  bool saved = false;
  for (const Projection& one : group) {
    for (const AdapterSegment& segment : adapters) {
      saved = saved || replaces(one, segment);
      collect(one, segment, additions);
    }
  }
  if (additions.empty() && !saved) return backend.linear(products, in);
  if (!saved) return backend.linear_with_lora(products, additions, in);
  backend.linear(products, in);
  for (const Projection& one : group) {
    for (const AdapterSegment& segment : adapters) replace_saved(backend, one, segment, in);
  }
  if (!additions.empty()) backend.add_lora(additions, in);
}

void embed(Backend& backend, const Weight& table, std::span<const int32_t> tokens, float scale,
           std::span<const AdapterSegment> adapters, Matrix out) {
  backend.embed(table, tokens, scale, out);
  std::vector<LoraProduct> additions;
  for (const AdapterSegment& segment : adapters) {
    for (const auto& [adapter, weight] : segment.set->members()) {
      const Weight* saved = adapter->saved_embedding();
      if (!saved) continue;
      for_each_run(segment.rows, [&](int64_t first, int64_t n) {
        const auto some = tokens.subspan(static_cast<size_t>(first), static_cast<size_t>(n));
        backend.embed(*saved, some, scale, rows_of(out, first, n));
      });
    }
    for (const auto& [adapter, weight] : segment.set->members()) {
      const AdapterTerm* term = adapter->embedding_term();
      if (term) additions.push_back(product_of(*term, scale * weight, segment, out));
    }
  }
  if (!additions.empty()) backend.add_lora_rows(additions, tokens);
}

std::vector<ExpertLora> expert_lora(const LayerWeights& layer, int64_t n_experts,
                                    std::span<const AdapterSegment> adapters) {
  const std::pair<SiteId, ExpertPart> parts[] = {{layer.expert_gate_site, ExpertPart::kGate},
                                                 {layer.expert_up_site, ExpertPart::kUp},
                                                 {layer.expert_down_site, ExpertPart::kDown}};
  std::vector<ExpertLora> additions;
  for (const AdapterSegment& segment : adapters) {
    for (const auto& [site, part] : parts) {
      for (int64_t expert = 0; expert < n_experts; ++expert) {
        if (const Vector rescale = segment.set->rescale(site, expert); rescale.data) {
          LoraProduct product;
          product.rescale = rescale;
          product.rows = segment.rows;
          additions.push_back({expert, part, product});
        }
        for (const auto& [adapter, scale] : segment.set->members()) {
          const AdapterTerm* term = adapter->term(site, expert);
          if (term) additions.push_back({expert, part, product_of(*term, scale, segment, {})});
        }
      }
    }
  }
  return additions;
}

}  // namespace realm
