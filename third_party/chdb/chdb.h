/* Declarations of the libchdb 26.7.3 entry points that chdb-rust 2.0.0 binds.
 *
 * The npm package that carries libchdb.so has no header, so this file is ours. The version and the direct
 * Arrow insert functions are left out on purpose, even in comments: chdb-rust switches features on when
 * it sees their names here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct chdb_result_ chdb_result;
typedef struct chdb_insert_stream_ *chdb_insert_stream;
typedef struct chdb_connection_ *chdb_connection;

typedef struct chdb_arrow_stream_ *chdb_arrow_stream;
typedef struct chdb_arrow_schema_ *chdb_arrow_schema;
typedef struct chdb_arrow_array_ *chdb_arrow_array;

typedef enum chdb_state { CHDBSuccess = 0, CHDBError = 1 } chdb_state;

typedef struct chdb_arrow_options {
  int unsupported_as_binary;
  int low_cardinality_as_dictionary;
  int string_as_string;
} chdb_arrow_options;

chdb_connection *chdb_connect(int argc, char **argv);
void chdb_close_conn(chdb_connection *conn);
chdb_state chdb_shutdown(void);
void chdb_set_signal_handlers_enabled(int enabled);
void chdb_reset_signal_handlers(void);

chdb_result *chdb_query_n(chdb_connection conn, const char *query, size_t query_len,
                          const char *format, size_t format_len);
chdb_result *chdb_query_with_params_n(chdb_connection conn, const char *query, size_t query_len,
                                      const char *format, size_t format_len,
                                      const char *const *param_names, const size_t *param_name_lens,
                                      const char *const *param_values,
                                      const size_t *param_value_lens, size_t param_count);
chdb_result *chdb_query_arrow_n(chdb_connection conn, const char *query, size_t query_len,
                                chdb_arrow_stream out_stream, const chdb_arrow_options *options);

chdb_result *chdb_stream_query(chdb_connection conn, const char *query, const char *format);
chdb_result *chdb_stream_query_n(chdb_connection conn, const char *query, size_t query_len,
                                 const char *format, size_t format_len);
chdb_result *chdb_stream_query_with_params_n(chdb_connection conn, const char *query,
                                             size_t query_len, const char *format,
                                             size_t format_len, const char *const *param_names,
                                             const size_t *param_name_lens,
                                             const char *const *param_values,
                                             const size_t *param_value_lens, size_t param_count);
chdb_result *chdb_stream_query_arrow_n(chdb_connection conn, const char *query, size_t query_len,
                                       const chdb_arrow_options *options);
chdb_result *chdb_stream_query_arrow_with_params_n(
    chdb_connection conn, const char *query, size_t query_len, const chdb_arrow_options *options,
    const char *const *param_names, const size_t *param_name_lens, const char *const *param_values,
    const size_t *param_value_lens, size_t param_count);
chdb_result *chdb_stream_fetch_result(chdb_connection conn, chdb_result *result);
chdb_state chdb_stream_fetch_arrow(chdb_connection conn, chdb_result *result,
                                   chdb_arrow_stream out_stream);
void chdb_stream_cancel_query(chdb_connection conn, chdb_result *result);

chdb_insert_stream chdb_stream_insert_n(chdb_connection conn, const char *query, size_t query_len,
                                         const char *format, size_t format_len);
chdb_insert_stream chdb_stream_insert_with_params_n(
    chdb_connection conn, const char *query, size_t query_len, const char *format,
    size_t format_len, const char *const *param_names, const size_t *param_name_lens,
    const char *const *param_values, const size_t *param_value_lens, size_t param_count);
chdb_state chdb_stream_append(chdb_insert_stream stream, const void *data, size_t size);
chdb_result *chdb_stream_done(chdb_insert_stream stream);
void chdb_stream_cancel_insert(chdb_insert_stream stream);
const char *chdb_stream_insert_error(chdb_insert_stream stream);
void chdb_destroy_insert_stream(chdb_insert_stream stream);

chdb_state chdb_arrow_scan(chdb_connection conn, const char *table_name,
                           chdb_arrow_stream arrow_stream);
chdb_state chdb_arrow_array_scan(chdb_connection conn, const char *table_name,
                                 chdb_arrow_schema arrow_schema, chdb_arrow_array arrow_array);
chdb_state chdb_arrow_unregister_table(chdb_connection conn, const char *table_name);

void chdb_destroy_query_result(chdb_result *result);
char *chdb_result_buffer(chdb_result *result);
size_t chdb_result_length(chdb_result *result);
double chdb_result_elapsed(chdb_result *result);
uint64_t chdb_result_rows_read(chdb_result *result);
uint64_t chdb_result_bytes_read(chdb_result *result);
uint64_t chdb_result_rows_written(chdb_result *result);
uint64_t chdb_result_bytes_written(chdb_result *result);
uint64_t chdb_result_storage_rows_read(chdb_result *result);
uint64_t chdb_result_storage_bytes_read(chdb_result *result);
const char *chdb_result_error(chdb_result *result);
