/* A CUDA driver without a card: its memory is the machine's, in files that have no name. Only what device_memory.py asks
 * for, with the driver's own signatures, so that NVIDIA's bindings load it and processes really share what they should.
 *
 * cc -shared -fPIC -o libcuda.so.1 libcuda.c [-DREFUSE=cuMemMap]: then that call is not supported. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_SUPPORTED = 801 };
enum { UNIT = 2 << 20, PINNED = 1, DEVICE = 1, POSIX_FD = 1 };

typedef struct {
  int type, handle_types;
  struct {
    int type, id;
  } location;
} Prop;

typedef struct {
  struct {
    int type, id;
  } location; /* longer from version to version, so that what comes after it is not looked at */
} Access;

static int init(unsigned flags) { return flags == 0 ? SUCCESS : INVALID_VALUE; }

static int device_get(int *device, int ordinal) {
  *device = 0;
  return ordinal == 0 ? SUCCESS : INVALID_VALUE;
}

static int retain(void **context, int device) {
  *context = (void *)0x1000;
  return device == 0 ? SUCCESS : INVALID_VALUE;
}

static int release_context(int device) { return device == 0 ? SUCCESS : INVALID_VALUE; }
static int set_current(void *context) { return context == (void *)0x1000 ? SUCCESS : INVALID_VALUE; }
static int synchronize(void) { return SUCCESS; }

static int is_ours(const Prop *prop) {
  return prop->type == PINNED && prop->handle_types == POSIX_FD && prop->location.type == DEVICE &&
         prop->location.id == 0;
}

static int granularity(size_t *unit, const Prop *prop, int option) {
  *unit = UNIT;
  return is_ours(prop) && option == 0 ? SUCCESS : INVALID_VALUE;
}

static int create(uint64_t *handle, size_t size, const Prop *prop, uint64_t flags) {
  if (!is_ours(prop) || flags != 0 || size == 0 || size % UNIT != 0) return INVALID_VALUE;
  int file = memfd_create("a card's memory", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, size) != 0) return OUT_OF_MEMORY;
  *handle = file;
  return SUCCESS;
}

static int release(uint64_t handle) { return close(handle) == 0 ? SUCCESS : INVALID_VALUE; }

static int export(int *descriptor, uint64_t handle, int type, uint64_t flags) {
  *descriptor = dup(handle);
  return type == POSIX_FD && flags == 0 && *descriptor >= 0 ? SUCCESS : INVALID_VALUE;
}

static int import(uint64_t *handle, void *descriptor, int type) {
  int file = dup((int)(intptr_t)descriptor);
  *handle = file;
  return type == POSIX_FD && file >= 0 ? SUCCESS : INVALID_VALUE;
}

static int reserve(uint64_t *address, size_t size, size_t alignment, uint64_t wanted, uint64_t flags) {
  void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *address = (uint64_t)place;
  return place != MAP_FAILED && size % UNIT == 0 && alignment + wanted + flags == 0 ? SUCCESS : INVALID_VALUE;
}

static int address_free(uint64_t address, size_t size) {
  return munmap((void *)address, size) == 0 ? SUCCESS : INVALID_VALUE;
}

static int map(uint64_t address, size_t size, size_t offset, uint64_t handle, uint64_t flags) {
  void *place = mmap((void *)address, size, PROT_NONE, MAP_SHARED | MAP_FIXED, handle, offset);
  return place != MAP_FAILED && flags == 0 ? SUCCESS : INVALID_VALUE;
}

static int unmap(uint64_t address, size_t size) {
  void *place = mmap((void *)address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return place != MAP_FAILED ? SUCCESS : INVALID_VALUE;
}

static int set_access(uint64_t address, size_t size, const Access *access, size_t count) {
  if (count != 1 || access->location.type != DEVICE || access->location.id != 0) return INVALID_VALUE;
  return mprotect((void *)address, size, PROT_READ | PROT_WRITE) == 0 ? SUCCESS : INVALID_VALUE;
}

static int copy_on_card(uint64_t to, uint64_t from, size_t size) {
  memcpy((void *)to, (void *)from, size);
  return SUCCESS;
}

static int copy_to_host(void *to, uint64_t from, size_t size) { return copy_on_card((uint64_t)to, from, size); }

static int fill(uint64_t to, unsigned char byte, size_t size) {
  memset((void *)to, byte, size);
  return SUCCESS;
}

static int refused(void) { return NOT_SUPPORTED; }

#define TEXT(name) #name
#define TEXT_OF(name) TEXT(name)
#ifndef REFUSE
#define REFUSE nothing
#endif

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
  static const struct {
    const char *name;
    void *function;
  } known[] = {
      {"cuInit", init},
      {"cuDeviceGet", device_get},
      {"cuDevicePrimaryCtxRetain", retain},
      {"cuDevicePrimaryCtxRelease", release_context},
      {"cuCtxSetCurrent", set_current},
      {"cuCtxSynchronize", synchronize},
      {"cuMemGetAllocationGranularity", granularity},
      {"cuMemCreate", create},
      {"cuMemRelease", release},
      {"cuMemExportToShareableHandle", export},
      {"cuMemImportFromShareableHandle", import},
      {"cuMemAddressReserve", reserve},
      {"cuMemAddressFree", address_free},
      {"cuMemMap", map},
      {"cuMemUnmap", unmap},
      {"cuMemSetAccess", set_access},
      {"cuMemcpyDtoD", copy_on_card},
      {"cuMemcpyDtoH", copy_to_host},
      {"cuMemsetD8", fill},
  };
  (void)version, (void)flags;
  *function = NULL;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(name, known[i].name) == 0) *function = known[i].function;
  if (strcmp(name, "cuGetProcAddress") == 0) *function = cuGetProcAddress_v2;
  if (strcmp(name, TEXT_OF(REFUSE)) == 0) *function = (void *)refused;
  if (status) *status = *function ? 0 : 1;
  return *function ? SUCCESS : NOT_FOUND;
}
