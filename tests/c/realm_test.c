/* The C interface, used from C99 as a stranger would: realm_c_test GOLDEN_FOLDER DEMO_FOLDER.
 * Between them, its parts call every function that the library exports. */
#include "expect.h"

int expectations = 0, failures = 0;

static void every_code_has_a_name(void) {
  int status;
  for (status = REALM_ERROR_FORKED; status <= REALM_OK; ++status) {
    EXPECT(strcmp(realm_status_name(status), "unknown status") != 0);
  }
  EXPECT(strcmp(realm_status_name(1), "unknown status") == 0);
  EXPECT(strcmp(realm_version(), REALM_HEADER_VERSION) == 0);
}

int main(int argc, char** argv) {
  world w;
  if (argc != 3) return 2;
  w.golden = argv[1];
  w.demo = argv[2];
  every_code_has_a_name();
  test_files(&w);
  test_options(&w);
  test_handles(&w);
  test_models(&w);
  test_adapters(&w);
  test_tenants(&w);
  test_requests(&w);
  test_layers(&w);
  printf("%d expectations, %d failures\n", expectations, failures);
  return failures != 0;
}
