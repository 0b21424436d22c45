/* A stand-in for NVIDIA's driver library: as much of it as PyCUDA needs for memory, streams and contexts.

   Memory of the GPU is host memory full of NaN. Work that a stream was told is done when somebody waits for the stream,
   not before: what is read too early is NaN. Every other function that PyCUDA links to is added by the test, and says
   that it is not supported. Nothing here is ever a result. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 1, NOT_FOUND = 500, MOST = 4096 };

typedef struct { char *start; size_t size; void *context; int kind; } Block; /* kind: 1 on the GPU, 2 page-locked */
typedef struct { void *target, *source; size_t size; int own; } Copy;
typedef struct { int nonblocking, count; Copy copies[MOST]; } Stream;

static Block blocks[MOST];
static Stream *streams[MOST];
static void *current[MOST];
static int depth, made;
static char primary;

static Block *block_of(const void *address) {
    for (int at = 0; at < MOST; at++)
        if (blocks[at].start && (char *)address >= blocks[at].start && (char *)address < blocks[at].start + blocks[at].size)
            return &blocks[at];
    return NULL;
}

static void *add_block(size_t size, int kind) {
    for (int at = 0; at < MOST; at++)
        if (!blocks[at].start) {
            blocks[at] = (Block){aligned_alloc(256, (size + 255) / 256 * 256), size, depth ? current[depth - 1] : NULL, kind};
            memset(blocks[at].start, 0xff, size);
            return blocks[at].start;
        }
    return NULL;
}

static int remove_block(void *start) {
    Block *found = block_of(start);
    if (!found || found->start != start) return INVALID;
    free(found->start);
    found->start = NULL;
    return OK;
}

/* For the test: what PyCUDA's memory is to another library of the process. */
int stub_kind(uint64_t address) { Block *found = block_of((void *)address); return found ? found->kind : 0; }
uint64_t stub_context(uint64_t address) { Block *found = block_of((void *)address); return found ? (uint64_t)found->context : 0; }
uint64_t stub_primary(void) { return (uint64_t)&primary; }
int stub_pending(void *stream) { return ((Stream *)stream)->count; }

int stub_finish(void *stream) {
    Stream *known = stream;
    for (int at = 0; at < known->count; at++) {
        memcpy(known->copies[at].target, known->copies[at].source, known->copies[at].size);
        if (known->copies[at].own) free(known->copies[at].source);
    }
    known->count = 0;
    return OK;
}

/* What the default stream waits for: every stream but those made non-blocking. */
int stub_finish_blocking(void) {
    for (int at = 0; at < MOST; at++)
        if (streams[at] && !streams[at]->nonblocking) stub_finish(streams[at]);
    return OK;
}

static int tell(void *stream, void *target, const void *source, size_t size) {
    Stream *known = stream;
    Copy copy = {target, (void *)source, size, 0};
    if (!known) { stub_finish_blocking(); memcpy(target, source, size); return OK; }
    if (known->count == MOST) return INVALID;
    if (!block_of(source)) { /* pageable memory is read before the call returns */
        copy.source = memcpy(malloc(size), source, size);
        copy.own = 1;
    }
    known->copies[known->count++] = copy;
    return OK;
}

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuGetErrorString(int code, const char **text) { *text = "the stand-in for the driver cannot do this"; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int index) { *device = index; return index ? INVALID : OK; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "a stand-in", size); return OK; }
int cuDeviceGetPCIBusId(char *name, int size, int device) { strncpy(name, "0000:01:00.0", size); return OK; }
int cuDeviceComputeCapability(int *major, int *minor, int device) { *major = 8; *minor = 9; return OK; }
int cuDeviceGetAttribute(int *value, int which, int device) { *value = which == 75 ? 8 : which == 76 ? 9 : 1; return OK; }
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = 1 << 30; return OK; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &primary; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
int cuCtxPushCurrent_v2(void *context) { if (depth == MOST) return INVALID; current[depth++] = context; return OK; }
int cuCtxPopCurrent_v2(void **context) { if (!depth) return INVALID; depth--; if (context) *context = current[depth]; return OK; }
int cuCtxCreate_v4(void **context, void *parameters, unsigned flags, int device) {
    *context = malloc(1);
    return cuCtxPushCurrent_v2(*context);
}
int cuCtxDestroy_v2(void *context) { return OK; }
int cuCtxDetach(void *context) { if (depth && current[depth - 1] == context) depth--; return OK; }
int cuCtxGetDevice(int *device) { *device = 0; return depth ? OK : INVALID; }
int cuCtxGetApiVersion(void *context, unsigned *version) { *version = 13000; return OK; }
int cuCtxSynchronize(void) {
    for (int at = 0; at < MOST; at++) if (streams[at]) stub_finish(streams[at]);
    return OK;
}
int cuMemAlloc_v2(void **address, size_t size) { *address = add_block(size, 1); return *address ? OK : 2; }
int cuMemFree_v2(void *address) { stub_finish_blocking(); return remove_block(address); }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { *address = add_block(size, 2); return *address ? OK : 2; }
int cuMemFreeHost(void *address) { return remove_block(address); }
int cuMemGetInfo_v2(size_t *available, size_t *all) { *available = *all = 1 << 30; return OK; }
int cuMemcpyHtoD_v2(void *target, const void *source, size_t size) { return tell(NULL, target, source, size); }
int cuMemcpyDtoH_v2(void *target, const void *source, size_t size) { return tell(NULL, target, source, size); }
int cuMemcpyDtoD_v2(void *target, const void *source, size_t size) { return tell(NULL, target, source, size); }
int cuMemcpyHtoDAsync_v2(void *target, const void *source, size_t size, void *stream) { return tell(stream, target, source, size); }
int cuMemcpyDtoHAsync_v2(void *target, const void *source, size_t size, void *stream) { return tell(stream, target, source, size); }
int cuMemcpyDtoDAsync_v2(void *target, const void *source, size_t size, void *stream) { return tell(stream, target, source, size); }
int cuStreamCreate(void **stream, unsigned flags) {
    if (made == MOST) return INVALID;
    Stream *known = calloc(1, sizeof(Stream));
    known->nonblocking = flags & 1;
    *stream = streams[made++] = known;
    return OK;
}
int cuStreamDestroy_v2(void *stream) { return stub_finish(stream); }
int cuStreamSynchronize(void *stream) { return stream ? stub_finish(stream) : stub_finish_blocking(); }
int cuStreamQuery(void *stream) { return stream && ((Stream *)stream)->count ? 600 : OK; }
