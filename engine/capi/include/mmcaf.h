/* libmmcaf: image and record in, probabilities out, without Python.

   Objects     mmcaf_network is a bundle that is open; mmcaf_result is one answer; mmcaf_tensor_list is what a network put out.
   Ownership   What mmcaf_open, mmcaf_answer_... and mmcaf_run give is freed by the caller, with mmcaf_free_network,
               mmcaf_free_result and mmcaf_free_tensors; NULL is fine. A result outlives its network. A `const char *` that a
               function returns belongs to the object that it was asked of, and lives as long as that. Structs and arrays that
               are handed over stay the caller's, and are read during the call only; callbacks of mmcaf_open_options.log are
               called as long as the network is open.
   Options     Each struct that begins with struct_size is filled by its mmcaf_..._default first, which writes the size that
               the program was compiled with: later versions append members, and take the size of each earlier version.
               Structs without it never change. NULL for options means the defaults.
   Threads     Several threads may use one network: answers are made one after another, to the same bits; a deadline counts the
               waiting. Freeing it waits for the thread that is inside; calls that come later answer MMCAF_USAGE. A result is
               never written once it is there.
   Errors      A function that may fail returns an mmcaf_code, which is the command line's exit code, and leaves what it was to
               give at NULL. mmcaf_last_error() says what was refused and what to do next.
   Callbacks   run on the thread that called, and must not throw or jump. What they ask of the network that calls them answers
               MMCAF_USAGE; they may free it, which then ends with the call. Two networks whose callbacks ask each other, on two
               threads, wait for each other for ever, or as long as their deadlines allow.
   Text        is UTF-8 without control characters; other text answers MMCAF_USAGE. Nothing of a patient is ever logged. */

#ifndef MMCAF_H
#define MMCAF_H

#include <stddef.h>
#include <stdint.h>

#define MMCAF_API_VERSION 1

#if defined(__GNUC__)
#define MMCAF_API __attribute__((visibility("default")))
#else
#define MMCAF_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mmcaf_code {
  MMCAF_OK = 0,
  MMCAF_BUG = 1,      /* a fault of this library */
  MMCAF_USAGE = 2,    /* the call itself is wrong */
  MMCAF_STUDY = 3,    /* the image is refused */
  MMCAF_RECORD = 4,   /* the record is refused */
  MMCAF_BUNDLE = 5,   /* the bundle is refused */
  MMCAF_BACKEND = 6,  /* OpenVINO, a precision or the self-test failed */
  MMCAF_STRICT = 7,   /* there is an answer with warnings, which `strict` refuses */
  MMCAF_DEADLINE = 124,
  MMCAF_CANCELLED = 130
} mmcaf_code;

typedef enum mmcaf_type { MMCAF_INT16 = 1, MMCAF_FLOAT32 = 2, MMCAF_INT64 = 3 } mmcaf_type;

/* What a volume's values are: Hounsfield units; values after the rescale, in whatever unit; raw pixel values. */
typedef enum mmcaf_intensity { MMCAF_HOUNSFIELD = 0, MMCAF_RESCALED = 1, MMCAF_STORED = 2 } mmcaf_intensity;

typedef struct mmcaf_network mmcaf_network;
typedef struct mmcaf_result mmcaf_result;
typedef struct mmcaf_tensor_list mmcaf_tensor_list;

/* level: 20 for what is done, 30 for a warning, 40 for an error. */
typedef void (*mmcaf_log_function)(void *user, int level, const char *message);

/* stage: "open", "slices", "infer" of windows; `done` of `total`. Not 0 ends the call with MMCAF_CANCELLED. */
typedef int (*mmcaf_progress_function)(void *user, const char *stage, size_t done, size_t total);

/* Fills `slice`, [rows][columns] of the volume's type, with that of this index. Not 0 ends the call with MMCAF_CANCELLED. */
typedef int (*mmcaf_slice_function)(void *user, size_t index, void *slice);

typedef struct mmcaf_open_options {
  size_t struct_size;
  const char *precision;   /* "auto", "fp32", "bf16", "int8" or "int8-bf16" */
  int threads;             /* 0: the physical cores that this process may use */
  const char *cache;       /* folder of kept engines; NULL: $MMCAF_CACHE, else the user's; "": none is kept */
  const char *trusted_key; /* minisign public key, its line in base64: a bundle that it did not sign is refused. NULL: no
                              signature is verified; with $MMCAF_REQUIRE_SIGNATURE=1 every bundle is then refused */
  const char *kernels;     /* library of the operators; NULL: beside this library; "": OpenVINO's own operators */
  int require_kept_engine; /* not 0: an engine that is not kept is never built here */
  mmcaf_log_function log;
  mmcaf_progress_function progress;
  void *user;
} mmcaf_open_options;

typedef struct mmcaf_volume {
  size_t struct_size;
  const char *input;    /* the network's input that it is for; NULL where there is one */
  const void *values;   /* [slices][rows][columns], without gaps */
  mmcaf_type type;      /* MMCAF_INT16 or MMCAF_FLOAT32 */
  size_t shape[3];      /* slices, rows, columns */
  double spacing_mm[3]; /* between slices, rows, columns, each above 0 */
  double origin_mm[3];  /* centre of the first voxel, in patient coordinates (LPS) */
  double direction[9];  /* unit vectors along slices, rows and columns, in LPS; default: toward head, back and left */
  mmcaf_intensity intensity;
} mmcaf_volume;

/* The DICOM image that a slice was made from; frame counts from 1, 0 of a single-frame image. Never changes. */
typedef struct mmcaf_instance {
  const char *sop_class_uid;
  const char *sop_instance_uid;
  int frame;
} mmcaf_instance;

/* What the study's header says, as far as it is known, and what is asked for. */
typedef struct mmcaf_answer_options {
  size_t struct_size;
  const char *patient_id;  /* a record with another id is refused */
  const char *patient_sex; /* "M", "F" or NULL */
  double patient_age_years; /* NaN: not known; as patient_weight_kg */
  double patient_weight_kg;
  const char *study_uid;
  const char *series_uid;
  const char *frame_of_reference_uid;
  const char *modality;
  const char *body_part;
  const mmcaf_instance *instances; /* one for each slice, in the volume's order, or none */
  size_t instance_count;
  int first_slice; /* slices to score, from 1 at the feet; 0: all */
  int last_slice;
  int stride;            /* slices from window to window; 0: the bundle's */
  int allow_id_mismatch; /* not 0: answer although the patient's id differs, with a warning */
  int strict;            /* not 0: refuse to answer with warnings */
  double deadline_seconds; /* 0: none */
  const char *created;     /* time of the answer, ISO 8601 with time zone; NULL: now */
  mmcaf_progress_function progress;
  void *user;
  const int64_t *tokens; /* of the report, where the network reads one: [CLS] and [SEP] too, no padding; NULL: no report */
  size_t token_count;
  const char *view; /* of a 2D image: "frontal" or "lateral"; NULL: not known */
} mmcaf_answer_options;

/* shape: `rank` sizes, the slowest first. Never changes. */
typedef struct mmcaf_tensor {
  const char *name;
  mmcaf_type type;
  const void *data;
  const int64_t *shape;
  size_t rank;
} mmcaf_tensor;

/* kind: the class of the error, such as "RecordError". remedy: the first of them in words, empty where nothing helps.
   json: all of it, with every remedy's text, option, value and command. */
typedef struct mmcaf_error {
  mmcaf_code code;
  const char *kind;
  const char *problem;
  const char *remedy;
  const char *json;
} mmcaf_error;

MMCAF_API const char *mmcaf_version(void);

/* Of the last call of this thread that failed; lives until its next call of this library. Never NULL. */
MMCAF_API const mmcaf_error *mmcaf_last_error(void);

/* Write the defaults, and `size`, into a struct of so many bytes. Of a size that this library does not know, the call that
   is handed the struct answers MMCAF_USAGE. */
MMCAF_API void mmcaf_open_options_init(mmcaf_open_options *options, size_t size);
MMCAF_API void mmcaf_volume_init(mmcaf_volume *volume, size_t size);
MMCAF_API void mmcaf_answer_options_init(mmcaf_answer_options *options, size_t size);

/* The same, of the size that this header gives the struct. */
static inline void mmcaf_open_options_default(mmcaf_open_options *options) {
  mmcaf_open_options_init(options, sizeof(mmcaf_open_options));
}
static inline void mmcaf_volume_default(mmcaf_volume *volume) { mmcaf_volume_init(volume, sizeof(mmcaf_volume)); }
static inline void mmcaf_answer_options_default(mmcaf_answer_options *options) {
  mmcaf_answer_options_init(options, sizeof(mmcaf_answer_options));
}

/* Open a bundle, a folder or a zip: every byte that is used is hashed first, and the network passes its self-test. */
MMCAF_API mmcaf_code mmcaf_open(const char *bundle, const mmcaf_open_options *options, mmcaf_network **network);
MMCAF_API void mmcaf_free_network(mmcaf_network *network);

/* What was opened: name, version, SHA-256, signer, inputs, outputs, labels, engine, self-test. */
MMCAF_API const char *mmcaf_network_json(const mmcaf_network *network);

/* Answer a study. record_json: a flat JSON object with the fields that the bundle declares; NULL of a network without. */
MMCAF_API mmcaf_code mmcaf_answer_volume(mmcaf_network *network, const mmcaf_volume *volume, const char *record_json,
                                         const mmcaf_answer_options *options, mmcaf_result **result);

/* Of a network that reads several series: each volume names its input. All have the same struct_size. */
MMCAF_API mmcaf_code mmcaf_answer_volumes(mmcaf_network *network, const mmcaf_volume *volumes, size_t count,
                                          const char *record_json, const mmcaf_answer_options *options,
                                          mmcaf_result **result);

/* Slices as they arrive: series->values is NULL, and `next` is called for each slice in order. */
MMCAF_API mmcaf_code mmcaf_answer_series(mmcaf_network *network, const mmcaf_volume *series, mmcaf_slice_function next,
                                         void *user, const char *record_json, const mmcaf_answer_options *options,
                                         mmcaf_result **result);

/* Of a network of 2D images: a grey plane [rows][columns], from 0, black, to 255, white. */
MMCAF_API mmcaf_code mmcaf_answer_image(mmcaf_network *network, const float *plane, size_t rows, size_t columns,
                                        const char *record_json, const mmcaf_answer_options *options,
                                        mmcaf_result **result);

MMCAF_API size_t mmcaf_result_label_count(const mmcaf_result *result);
MMCAF_API const char *mmcaf_result_label(const mmcaf_result *result, size_t index);
MMCAF_API double mmcaf_result_probability(const mmcaf_result *result, size_t index); /* NaN where there is no such index */
MMCAF_API const char *mmcaf_result_decision(const mmcaf_result *result); /* label; NULL where labels are independent */
MMCAF_API const char *mmcaf_result_json(const mmcaf_result *result);     /* as `mmcaf-infer --json` prints it */
MMCAF_API size_t mmcaf_result_warning_count(const mmcaf_result *result);
MMCAF_API const char *mmcaf_result_warning(const mmcaf_result *result, size_t index);
MMCAF_API void mmcaf_free_result(mmcaf_result *result);

/* Run the network on inputs that are prepared already: every input of one window, by name, in the bundle's types. */
MMCAF_API mmcaf_code mmcaf_run(mmcaf_network *network, const mmcaf_tensor *inputs, size_t count,
                               mmcaf_tensor_list **outputs);
MMCAF_API size_t mmcaf_tensor_count(const mmcaf_tensor_list *tensors);
MMCAF_API const mmcaf_tensor *mmcaf_tensor_at(const mmcaf_tensor_list *tensors, size_t index);
MMCAF_API void mmcaf_free_tensors(mmcaf_tensor_list *tensors);

#ifdef __cplusplus
}
#endif

#endif
