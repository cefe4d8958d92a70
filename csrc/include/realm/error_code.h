/* The codes every face of realm shares: the C API returns them, C++ carries them in realm::Error,
 * Python maps each to a class of its own. Plain C; values never change once released. */
#ifndef REALM_ERROR_CODE_H
#define REALM_ERROR_CODE_H

typedef enum realm_status {
  REALM_OK = 0,
  REALM_ERROR_INTERNAL = -1,        /* a defect of ours: please report it */
  REALM_ERROR_INVALID_REQUEST = -2, /* an argument the caller can correct */
  REALM_ERROR_FORMAT = -3,          /* a file or buffer says something impossible */
  REALM_ERROR_IO = -4,              /* the operating system refused a file operation */
  REALM_ERROR_OUT_OF_MEMORY = -5,   /* memory needed exceeds memory there is */
  REALM_ERROR_ADAPTER = -6,         /* an adapter does not fit its base */
  REALM_ERROR_QUOTA_EXCEEDED = -7,  /* a tenant's limit, named with its present value */
  REALM_ERROR_DEVICE = -8,          /* an accelerator is absent, lost or failing */
  REALM_ERROR_CANCELLED = -9,       /* the caller withdrew the request */
  REALM_ERROR_FORKED = -10          /* used in a child process after fork */
} realm_status;

#endif
