/* What every part of the C interface begins with: the mark of an exported function, and the
 * handles. Part of realm.h, which has their rules; plain C99. */
#ifndef REALM_API_H
#define REALM_API_H

#if defined(_WIN32) && defined(REALM_BUILDING_LIBRARY)
#define REALM_API __declspec(dllexport)
#elif defined(_WIN32)
#define REALM_API __declspec(dllimport)
#else
#define REALM_API __attribute__((visibility("default")))
#endif

typedef struct realm_runtime realm_runtime; /* models, adapters and tenants */
typedef struct realm_tenant realm_tenant;   /* who asks a model */
typedef struct realm_request realm_request; /* a prompt and its answer */
typedef struct realm_session realm_session; /* a model's layers, one by one */
typedef struct realm_gguf realm_gguf;       /* a file by itself */

#endif
