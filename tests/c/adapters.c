/* Adapters: from a folder and from memory, for a tenant, a model or one request. */
#include "expect.h"

static int says_arr(realm_tenant* tenant, const realm_request_options* options) {
  answer whole;
  ask(tenant, options, &whole);
  EXPECT(strncmp(whole.bytes, " Paris", 6) == 0);
  return strstr(whole.bytes, "arr!") != NULL;
}

static void load_style(const world* w, realm_runtime* runtime) {
  char* path = path_in(w->demo, "adapter");
  EXPECT(realm_adapter_load(runtime, TEXT("style"), path, strlen(path), TEXT("demo")) == REALM_OK);
  free(path);
}

static void an_adapter_is_listed_with_how_it_fits(const world* w) {
  service s = open_service(w);
  realm_adapter_info info = {.struct_size = sizeof info};
  char id[16];
  size_t length = 0, count = 99;
  EXPECT(realm_adapter_count(s.runtime, &count) == REALM_OK && count == 0);
  load_style(w, s.runtime);
  EXPECT(realm_adapter_count(s.runtime, &count) == REALM_OK && count == 1);
  EXPECT(realm_adapter_at(s.runtime, 0, id, sizeof id, &length, &info) == REALM_OK);
  EXPECT(length == 5 && memcmp(id, "style", 5) == 0);
  EXPECT(info.is_fitted == 1 && info.rank == 8 && info.scale > 1.9 && info.scale < 2.1);
  EXPECT(info.n_applied > 0 && info.n_refused == 0 && info.bytes > 1000);
  EXPECT_REFUSED(realm_adapter_at(s.runtime, 1, id, sizeof id, &length, NULL), "adapter 1 of 1");
  EXPECT(realm_adapter_unload(s.runtime, TEXT("style")) == REALM_OK);
  EXPECT_REFUSED(realm_adapter_unload(s.runtime, TEXT("style")), "'style'");
  close_service(&s);
}

static void a_tenant_speaks_through_its_adapter(const world* w) {
  service s = open_service(w);
  const realm_sampling_params params = greedy(12);
  const realm_request_options options = with_params(&params);
  realm_tenant* other = NULL;
  load_style(w, s.runtime);
  EXPECT(realm_tenant_get_or_create(s.runtime, TEXT("other"), TEXT("demo"), NULL, &other) ==
         REALM_OK);
  EXPECT(realm_tenant_set_lora_adapter(s.runtime, TEXT("main"), TEXT("style")) == REALM_OK);
  EXPECT(says_arr(s.tenant, &options));
  EXPECT(!says_arr(other, &options));
  EXPECT_REFUSED(realm_tenant_set_lora_adapter(s.runtime, TEXT("main"), TEXT("missing")),
                 "'missing'");
  EXPECT(says_arr(s.tenant, &options));
  EXPECT(realm_tenant_set_lora_adapter(s.runtime, TEXT("main"), NULL, 0) == REALM_OK);
  EXPECT(!says_arr(s.tenant, &options));
  EXPECT(realm_tenant_free(other) == REALM_OK);
  close_service(&s);
}

static void a_model_lends_its_adapter_to_tenants_without_one(const world* w) {
  service s = open_service(w);
  const realm_sampling_params params = greedy(12);
  realm_request_options options = with_params(&params);
  load_style(w, s.runtime);
  EXPECT_REFUSED(realm_set_lora_adapter(s.runtime, TEXT("demo"), TEXT("missing")), "'missing'");
  EXPECT_REFUSED(realm_set_lora_adapter(s.runtime, TEXT("missing"), TEXT("style")), "'missing'");
  EXPECT(realm_set_lora_adapter(s.runtime, TEXT("demo"), TEXT("style")) == REALM_OK);
  EXPECT(says_arr(s.tenant, &options));
  options.chooses_adapters = 1; /* none of them */
  EXPECT(!says_arr(s.tenant, &options));
  options.chooses_adapters = 0;
  EXPECT(realm_set_lora_adapter(s.runtime, TEXT("demo"), NULL, 0) == REALM_OK);
  EXPECT(!says_arr(s.tenant, &options));
  close_service(&s);
}

static void one_request_chooses_for_itself(const world* w) {
  service s = open_service(w);
  const realm_sampling_params params = greedy(12);
  realm_request_options options = with_params(&params);
  realm_scaled_adapter style = {{TEXT("style")}, 1.0};
  realm_request* request = NULL;
  load_style(w, s.runtime);
  options.chooses_adapters = 1;
  options.adapters = &style;
  options.n_adapters = 1;
  EXPECT(says_arr(s.tenant, &options));
  style.scale = 0;
  EXPECT(!says_arr(s.tenant, &options));
  style.id.data = "stale";
  EXPECT_REFUSED(realm_request_submit(s.tenant, capital_of_france, 8, &options, &request),
                 "'stale'");
  close_service(&s);
}

static void an_adapter_comes_from_memory_and_before_its_model(const world* w) {
  realm_runtime* runtime = NULL;
  realm_tenant* tenant = NULL;
  const realm_sampling_params params = greedy(12);
  const realm_request_options options = with_params(&params);
  char* weights = path_in(w->demo, "adapter/adapter_model.safetensors");
  char* config = path_in(w->demo, "adapter/adapter_config.json");
  char* model = path_in(w->demo, "target.gguf");
  size_t weights_size = 0, config_size = 0, length = 0;
  char* weights_data = contents_of(weights, &weights_size);
  char* config_data = contents_of(config, &config_size);
  realm_adapter_info info = {.struct_size = sizeof info};

  EXPECT(realm_runtime_create(NULL, &runtime) == REALM_OK);
  EXPECT(realm_adapter_load_from_memory(runtime, TEXT("style"), weights_data, weights_size,
                                        config_data, config_size, TEXT("demo")) == REALM_OK);
  EXPECT(realm_adapter_at(runtime, 0, NULL, 0, &length, &info) == REALM_OK);
  EXPECT(length == 5 && info.is_fitted == 0);
  memset(weights_data, 0xee, weights_size);
  EXPECT(realm_tenant_set_lora_adapter(runtime, TEXT("main"), TEXT("style")) == REALM_OK);
  EXPECT(realm_model_load(runtime, TEXT("demo"), model, strlen(model), NULL) == REALM_OK);
  EXPECT(realm_adapter_at(runtime, 0, NULL, 0, &length, &info) == REALM_OK);
  EXPECT(info.is_fitted == 1);
  EXPECT(realm_tenant_get_or_create(runtime, TEXT("main"), TEXT("demo"), NULL, &tenant) ==
         REALM_OK);
  EXPECT(says_arr(tenant, &options));

  EXPECT_FAILS(realm_adapter_load_from_memory(runtime, TEXT("bad"), weights_data, weights_size,
                                              config_data, config_size, TEXT("demo")),
               REALM_ERROR_FORMAT, "");
  EXPECT(realm_tenant_free(tenant) == REALM_OK);
  EXPECT(realm_runtime_destroy(runtime) == REALM_OK);
  free(weights_data);
  free(config_data);
  free(weights);
  free(config);
  free(model);
}

static void an_adapter_of_another_base_is_refused(const world* w) {
  service s = open_service(w);
  char* path = path_in(w->golden, "arch/qwen3/adapters/all-linear");
  EXPECT_FAILS(realm_adapter_load(s.runtime, TEXT("foreign"), path, strlen(path), TEXT("demo")),
               REALM_ERROR_ADAPTER, "");
  free(path);
  close_service(&s);
}

void test_adapters(const world* w) {
  an_adapter_is_listed_with_how_it_fits(w);
  a_tenant_speaks_through_its_adapter(w);
  a_model_lends_its_adapter_to_tenants_without_one(w);
  one_request_chooses_for_itself(w);
  an_adapter_comes_from_memory_and_before_its_model(w);
  an_adapter_of_another_base_is_refused(w);
}
