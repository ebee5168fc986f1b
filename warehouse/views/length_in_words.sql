-- A length of prompts or answers in words: tokens, or how they are spread and within which bounds.
-- Macro: length_in_words(length)
-- Example: SELECT length_in_words('{"kind": "uniform", "least": 8, "most": 64}'::JSON) AS length_in_words
--
-- length_in_words: for example `1024` or `lognormal 16..4096 (mean 512)`
CREATE MACRO length_in_words(length) AS
  CASE
    WHEN json_type(length) = 'OBJECT' THEN
      (length ->> '$.kind') || ' ' || (length ->> '$.least') || '..' || (length ->> '$.most')
      || coalesce(' (mean ' || (length ->> '$.mean') || ')', ' (median ' || (length ->> '$.median') || ')', '')
      || coalesce(' ' || left(length ->> '$.table', 8), '')
    ELSE length ->> '$'
  END;
