#include <stdio.h>

#include <realm/realm.h>

int main(void) {
  realm_gguf* gguf = NULL;
  const int status = realm_gguf_open_memory("not a model", 11, &gguf);
  printf("realm %s: %s: %s\n", realm_version(), realm_status_name(status), realm_last_error());
  return status != REALM_ERROR_FORMAT;
}
