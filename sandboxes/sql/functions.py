"""What a statement may call: every name that is not here is refused.

Left out is what reads files, settings, the catalogue or the environment, runs text as SQL, waits,
counts across statements, or makes much out of little (`repeat`, `lpad`, `range` as a list).
"""

from __future__ import annotations

from collections.abc import Mapping


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPERATORS = _names("+ - * / // % ** ^ || ~ ~~ !~~ ~~* !~~* ~~~ ^@ @ & | << >> -> ->> && @> <@")
"""Functions that are written between or before their arguments."""

SCALARS: Mapping[str, frozenset[str]] = {
    "numbers": _names(
        "abs acos add asin atan atan2 bit_count cbrt ceil ceiling cos cot degrees divide even exp "
        "factorial fdiv floor fmod gamma gcd greatest isfinite isinf isnan lcm least lgamma ln log "
        "log10 log2 mod multiply nextafter pi pow power radians round round_even sign signbit sin "
        "sqrt subtract tan trunc xor"
    ),
    "text": _names(
        "ascii base64 bit_length char_length character_length chr concat concat_ws contains "
        "damerau_levenshtein editdist3 ends_with format_bytes from_base64 hamming hash hex "
        "ilike_escape instr jaccard jaro_similarity jaro_winkler_similarity lcase left "
        "left_grapheme length length_grapheme levenshtein like_escape lower ltrim md5 mismatches "
        "nfc_normalize not_ilike_escape not_like_escape octet_length ord position prefix "
        "regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches "
        "regexp_replace regexp_split_to_array replace reverse right right_grapheme rtrim sha1 "
        "sha256 split split_part starts_with str_split str_split_regex string_split "
        "string_split_regex string_to_array strip_accents strlen strpos substr substring "
        "substring_grapheme suffix to_base64 to_hex translate trim ucase unhex unicode upper "
        "url_decode url_encode"
    ),
    "time": _names(
        "age century current_date current_timestamp date_add date_diff date_part date_sub "
        "date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear "
        "days_in_month decade epoch epoch_ms epoch_ns epoch_us era get_current_timestamp hour "
        "isodow isoyear julian last_day make_date make_time make_timestamp make_timestamp_ms "
        "microsecond millennium millisecond minute month monthname nanosecond now quarter second "
        "strftime strptime time_bucket to_centuries to_days to_decades to_hours to_microseconds "
        "to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_weeks "
        "to_years today try_strptime week weekday weekofyear year yearweek"
    ),
    "lists and structs": _names(
        "array_append array_concat array_contains array_distinct array_extract array_filter "
        "array_has array_has_all array_has_any array_intersect array_length array_position "
        "array_prepend array_reverse array_slice array_sort array_to_string array_transform "
        "array_unique cardinality element_at flatten len list_aggregate list_any_value "
        "list_append list_apply list_avg list_cat list_concat list_contains list_count "
        "list_distinct list_element list_extract list_filter list_first list_has list_has_all "
        "list_has_any list_indexof list_intersect list_last list_max list_median list_min "
        "list_mode list_pack list_position list_prepend list_product list_reduce list_reverse "
        "list_reverse_sort list_select list_slice list_sort list_string_agg list_sum "
        "list_transform list_unique list_value list_where list_zip map map_contains map_entries "
        "map_extract map_extract_value map_from_entries map_keys map_values row struct_extract "
        "struct_insert struct_keys struct_pack struct_values unnest"
    ),
    "JSON": _names(
        "array_to_json from_json json json_array json_array_length json_contains json_exists "
        "json_extract json_extract_path json_extract_path_text json_extract_string json_keys "
        "json_object json_quote json_structure json_type json_valid json_value row_to_json to_json"
    ),
    "choice": _names("constant_or_null if nullif typeof"),
}

AGGREGATES = _names(
    "any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null "
    "arg_min arg_min_null argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr "
    "count count_if count_star countif covar_pop covar_samp entropy favg first fsum geomean "
    "group_concat histogram json_group_array json_group_object kurtosis last list listagg mad max "
    "max_by mean median min min_by mode product quantile quantile_cont quantile_disc regr_avgx "
    "regr_avgy regr_count regr_intercept regr_r2 regr_slope skewness stddev stddev_pop stddev_samp "
    "string_agg sum var_pop var_samp variance wavg weighted_avg"
)

WINDOWS = _names(
    "cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank "
    "row_number"
)

TABLES = _names("generate_series json_each json_tree range unnest")
"""Functions that stand where a table stands."""

TYPES = _names(
    "any bigint bit blob bool boolean bytea char date datetime dec decimal double float float4 "
    "float8 hugeint int int1 int2 int4 int8 integer interval json list logical long map nchar null "
    "numeric nvarchar real row short signed smallint string struct text time timestamp "
    "timestamp_ms timestamp_ns timestamp_s timestamp_us tinyint ubigint uhugeint uint8 uint16 "
    "uint32 uint64 uinteger union usmallint utinyint uuid varbinary varchar"
)

COLLATIONS = _names("binary c nfc noaccent nocase posix")

SCALAR = frozenset().union(*SCALARS.values()) | OPERATORS
CALLABLE = SCALAR | AGGREGATES
"""What may stand where a value stands."""

VALUES = _names(
    "current_catalog current_role current_schema current_time current_user localtime "
    "localtimestamp session_user user"
)
"""Words that DuckDB takes for calls when there is no column of that name."""
