/* Answers a study that lies in a file as raw Hounsfield units: int16, little endian, slice by slice toward the head.

   answer BUNDLE STUDY.raw SLICES ROWS COLUMNS BETWEEN DOWN ACROSS RECORD.json

   BETWEEN, DOWN and ACROSS are mm from slice to slice, row to row and column to column. The result goes to stdout as JSON;
   the exit code is that of the command line. */

#include <stdio.h>
#include <stdlib.h>

#include "mmcaf.h"

/* The bytes of a file with a zero after them, which the caller frees; NULL where it cannot be read. */
static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  char *bytes = NULL;
  long end = 0;
  if (file == NULL) {
    return NULL;
  }
  if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
    bytes = malloc((size_t)end + 1);
  }
  if (bytes != NULL && fread(bytes, 1, (size_t)end, file) != (size_t)end) {
    free(bytes);
    bytes = NULL;
  }
  fclose(file);
  if (bytes != NULL) {
    bytes[end] = '\0';
    *size = (size_t)end;
  }
  return bytes;
}

static int refused(mmcaf_code code) {
  const mmcaf_error *error = mmcaf_last_error();
  fprintf(stderr, "%s: %s %s\n", error->kind, error->problem, error->remedy);
  return (int)code;
}

static mmcaf_code answer(const char *bundle, const mmcaf_volume *volume, const char *record) {
  mmcaf_network *network = NULL;
  mmcaf_result *result = NULL;
  mmcaf_code code = mmcaf_open(bundle, NULL, &network);
  if (code == MMCAF_OK) {
    code = mmcaf_answer_volume(network, volume, record, NULL, &result);
  }
  if (code == MMCAF_OK) {
    puts(mmcaf_result_json(result));
  } else {
    refused(code);
  }
  mmcaf_free_result(result);
  mmcaf_free_network(network);
  return code;
}

int main(int count, char **given) {
  mmcaf_volume volume;
  size_t size = 0, record_size = 0, axis;
  char *values, *record;
  mmcaf_code code = MMCAF_USAGE;
  if (count != 10) {
    fprintf(stderr, "usage: answer BUNDLE STUDY.raw SLICES ROWS COLUMNS BETWEEN DOWN ACROSS RECORD.json\n");
    return MMCAF_USAGE;
  }
  mmcaf_volume_default(&volume);
  for (axis = 0; axis < 3; ++axis) {
    volume.shape[axis] = strtoul(given[3 + axis], NULL, 10);
    volume.spacing_mm[axis] = strtod(given[6 + axis], NULL);
  }
  values = read_file(given[2], &size);
  record = read_file(given[9], &record_size);
  if (values == NULL || record == NULL) {
    fprintf(stderr, "%s: cannot be read\n", values == NULL ? given[2] : given[9]);
  } else if (size != 2 * volume.shape[0] * volume.shape[1] * volume.shape[2]) {
    fprintf(stderr, "%s: %zu bytes, not 2 for each voxel\n", given[2], size);
  } else {
    volume.values = values;
    volume.type = MMCAF_INT16;
    code = answer(given[1], &volume, record);
  }
  free(values);
  free(record);
  return (int)code;
}
